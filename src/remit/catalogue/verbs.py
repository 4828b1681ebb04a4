"""The rules by which an effect is guessed: tables of verbs, of what they act on, and of what sentences say.

Each rule is a row with the words it looks for and the sentence it gives as its reason. The rows are tried in
order. Words are the stems that `words.forms` reduces to.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from remit.core.effects import Effect

# From the least to the most consequential. Where two rules differ, the later of their effects is taken.
RANK: Final[tuple[Effect, ...]] = (
    "read",
    "write",
    "execute",
    "configure",
    "export",
    "send",
    "share",
    "delete",
    "deploy",
    "pay",
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class VerbRule(NamedTuple):
    """Verbs of one effect.

    `nouns` are words that are as often nouns: they count only where no verb stands, and not in the plural.
    """

    effect: Effect
    because: str
    verbs: frozenset[str]
    nouns: frozenset[str] = frozenset()


class ObjectRule(NamedTuple):
    """What a verb does changes with what it acts on: `create` writes, `create payment` pays."""

    effect: Effect
    because: str
    objects: frozenset[str]  # one of these in the tool's name
    verbs: frozenset[str] = frozenset()  # with one of these verbs
    effects: frozenset[Effect] = frozenset()  # or with a verb of one of these effects
    unless: frozenset[str] = frozenset()
    arguments: bool = False  # the names of arguments are looked at too


class SentenceRule(NamedTuple):
    """What a description says besides its first verb; it can only raise the effect."""

    effect: Effect
    because: str
    pattern: re.Pattern[str]


VERBS: Final[tuple[VerbRule, ...]] = (
    VerbRule(
        "pay",
        "moves money or commits to moving it",
        _words("pay buy purchase checkout transfer spend refund reimburse donate withdraw disburse repay wire"),
        _words("order charge book reserve tip bid trade fund payout deposit invest"),
    ),
    VerbRule(
        "deploy",
        "puts a change into operation",
        _words("deploy rollout rollback promote merge apply"),
        _words("release migrate ship"),
    ),
    VerbRule(
        "delete",
        "takes something away",
        _words(
            "delete remove cancel clear erase purge revoke uninstall destroy wipe kick truncate discard"
            " unsubscribe expunge evict shred cleanup prune dismiss rm unregister"
        ),
        _words("drop empty trash"),
    ),
    VerbRule(
        "share",
        "gives others access or makes something public",
        _words("share invite grant delegate publish expose unlock"),
        _words("permit"),
    ),
    VerbRule(
        "send",
        "sends something to others or out of the system",
        _words("send reply respond forward submit notify tweet broadcast announce push upload dial sms emit"),
        _words("email mail message post comment issue dm call chat ask input fax alert text review"),
    ),
    VerbRule(
        "export",
        "takes data out in bulk",
        _words("export dump backup replicate"),
        _words("snapshot mirror"),
    ),
    VerbRule(
        "configure",
        "changes how an account or a system behaves",
        _words(
            "configure enable disable register install login logout authenticate connect disconnect activate"
            " deactivate lock block unblock mute provision rotate allow deny approve accept reject authorize link"
            " unlink subscribe suspend resume"
        ),
        _words("setup config"),
    ),
    VerbRule(
        "execute",
        "runs something whose effect only its input tells",
        _words(
            "run execute eval evaluate exec invoke start stop restart kill launch spawn trigger dispatch click press"
            " drag hover navigate simulate terminate confirm"
        ),
        _words("process shell bash script command perform"),
    ),
    VerbRule(
        "write",
        "creates or changes something",
        _words(
            "create add write append save make store move copy rename edit update modify set put insert patch replace"
            " download clone import sync commit stage unstage mark assign unassign unarchive restore undo redo"
            " revert unstar unpin follow unfollow upsert fork initialize init generate attach detach reschedule"
            " overwrite close reopen resolve toggle increment remember adjust bump rebase switch resize"
        ),
        _words(
            "change pull open reset star like vote rate record draft tag label archive schedule pin react track type"
            " fill format file note stash"
        ),
    ),
    VerbRule(
        "read",
        "only looks",
        _words(
            "get list read search find view show fetch lookup check count describe display inspect browse visit"
            " retrieve summarize calculate compute compare return analyze analyse explain preview poll convert"
            " translate validate verify detect classify recall discover examine enumerate extract parse identify"
            " locate query scan capture wait echo"
        ),
        _words("total monitor watch select diff status log tree info history screenshot"),
    ),
)

_MAKE: Final = _words("create add write make insert put update edit open")

OBJECTS: Final[tuple[ObjectRule, ...]] = (
    ObjectRule(
        "write",
        "checks out a version of files, not a purchase",
        _words("git branch commit repository repo worktree revision ref"),
        verbs=_words("checkout"),
        unless=_words("cart basket order purchase product payment"),
        arguments=True,
    ),
    ObjectRule(
        "share",
        "hands something over to somebody else",
        _words("owner ownership repository repo channel file document domain ticket call"),
        verbs=_words("transfer"),
        unless=_words("money fund payment amount iban"),
        arguments=True,
    ),
    ObjectRule(
        "execute",
        "runs a statement that may change anything",
        _words("sql statement"),
        verbs=_words("query"),
        arguments=True,
    ),
    ObjectRule(
        "write",
        "changes a text, not a running system",
        _words("patch edit diff text label filter pdf cell"),
        verbs=_words("apply merge"),
    ),
    ObjectRule(
        "pay",
        "asks for money back",
        _words("order product item purchase"),
        verbs=_words("return"),
    ),
    ObjectRule(
        "pay",
        "moves money or commits to moving it",
        _words("money payment payout fund transfer withdrawal donation refund purchase order transaction wire"),
        effects=frozenset({"write", "configure", "send", "execute", "deploy"}),
        unless=_words("email message notification"),
    ),
    ObjectRule(
        "deploy",
        "puts a change into operation",
        _words("deployment release rollout production"),
        effects=frozenset({"write", "configure", "execute"}),
    ),
    ObjectRule(
        "share",
        "gives others access or changes who has it",
        _words(
            "collaborator member permission role participant attendee guest acl owner ownership sharing visibility"
            " public invitation"
        ),
        effects=frozenset({"write", "configure", "send"}),
    ),
    ObjectRule(
        "configure",
        "changes how an account or a system behaves",
        _words(
            "password credential key token secret ssh webhook setting config configuration policy rule protection"
            " firewall dns account profile user variable flag"
        ),
        effects=frozenset({"write"}),
    ),
    ObjectRule(
        "write",
        "keeps a draft, nothing is sent yet",
        _words("draft"),
        effects=frozenset({"write"}),
    ),
    ObjectRule(
        "send",
        "puts a text where others read it",
        _words("email mail message comment reply post tweet issue review announcement notification pullrequest"),
        verbs=_MAKE,
    ),
)

SENTENCES: Final[tuple[SentenceRule, ...]] = (
    SentenceRule(
        "pay",
        "the description says that money is charged",
        re.compile(r"\b(?:charges?|debits?|bills?) (?:the|your|a|their)\b|\bpayments? (?:is|will be) (?:made|taken)"),
    ),
    SentenceRule(
        "delete",
        "the description says that something is lost for good",
        re.compile(r"\bpermanently (?:delet|remov|eras|destroy)|\birreversibl|\bcan(?:no|')t be undone"),
    ),
    SentenceRule(
        "send",
        "the description says that others are told",
        re.compile(
            r"\b(?:also|will|and|it) (?:\w+ )?(?:sends?|e?mails?|notif(?:y|ies)|posts?) "
            r"(?:\w+ ){0,3}(?:e?mails?|messages?|notifications?|participants?|members?|users?|recipients?|people)\b"
        ),
    ),
    SentenceRule(
        "execute",
        "the description says that it may start an action",
        re.compile(r"\b(?:triggers?|executes?|runs?) (?:\w+[ -]){0,4}(?:actions?|commands?|codes?|scripts?|jobs?)\b"),
    ),
    SentenceRule(
        "write",
        "the description says that something is overwritten or created",
        re.compile(r"\boverwrit|\bwill (?:be )?(?:creat|chang|updat|modif|replac)"),
    ),
)

PROVING: Final = _words("verify confirm validate authenticate")
ONE_TIME: Final = _words("otp totp pin passcode mfa")
MONEY: Final = _words("money payment transaction transfer order purchase bank fund checkout")
UNDOING: Final = _words("reset revert restore undo rollback checkout overwrite replace")
COMMAND_ARGUMENTS: Final = _words("command cmd script sql shell javascript bash statement")
PAYEE_ARGUMENTS: Final = _words("recipient iban account payee beneficiary merchant to")
AMOUNT_ARGUMENTS: Final = _words("amount sum price")
ADDRESS_ARGUMENTS: Final = _words("url uri endpoint webhook")
BODY_ARGUMENTS: Final = _words("body data payload headers json form method")
RECIPIENT_ARGUMENTS: Final = _words("recipient recipients to cc bcc")
SUBMIT_ARGUMENTS: Final = _words("submit send publish notify")
TEXT_ARGUMENTS: Final = _words("body message text content subject")
