"""An explanation on a terminal, as a tree."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from remit.console.explanation import Explained, Explanation, Level, Temporal, age_in_words, written
from remit.console.rows import STYLES, name_of
from remit.console.screen import moment, printable
from remit.policy.traced import Clause

_LEAF: Final = "context.temporal."
_KINDS: Final = {
    "recorded": "",
    "now": "by the folder's files, now; nothing was asked of the service or recorded",
    "hypothetical": "as if a task had just been started, and this were its first action; nothing was recorded",
}
_MARKS: Final = {
    "matched": ("●", "bold"),
    "failed": ("!", "bold red"),
    "unknown": ("?", "magenta"),
    "not matched": ("○", "dim"),
}
_EVENTS: Final = 5


def show_explanation(console: Console, found: Explanation, *, everything: bool = False) -> None:
    """Prints the answer, the policies with their clauses, and the facts."""
    console.print(
        Text.assemble((found.effect, f"bold {STYLES.get(found.effect, '')}"), "  ", (printable(found.action), "bold"))
    )
    who = f"{found.id}  {moment(found.at)}  {name_of(found.workload)}".strip()
    console.print(Text(f"  {printable(who)}", style="dim"), soft_wrap=True)
    console.print(Text(f"  {printable(found.reason)}: {printable(found.message)}"), soft_wrap=True)
    for line in (_KINDS[found.kind], found.note):
        if line:
            console.print(Text(f"  {printable(line)}", style="dim"), soft_wrap=True)
    if found.disagrees:
        console.print(
            Text(
                f"  THE TRACE DISAGREES: {printable(found.disagrees)}. Do not rely on it; report it.", style="bold red"
            ),
            soft_wrap=True,
        )
    for number, level in enumerate(found.levels):
        console.print()
        _show_level(console, level, above=number > 0, everything=everything)


def _show_level(console: Console, level: Level, *, above: bool, everything: bool) -> None:
    title = f"{'task above' if above else 'task'} {level.task}, intent {level.intent}" if level.intent else "policies"
    tree = Tree(Text(printable(title), style="bold blue"))
    quiet: list[Explained] = []
    for each in level.policies:
        if each.trace.status == "not matched" and not everything and not each.temporal:
            quiet.append(each)
        else:
            _policy(tree, each)
    if quiet:
        names = ", ".join(each.id for each in quiet)
        tree.add(Text(f"○ did not match: {printable(names)}  (--all shows why)", style="dim"))
    if level.elsewhere:
        tree.add(Text(f"{level.elsewhere} more are about other principals, resources or intents", style="dim"))
    console.print(tree, soft_wrap=False)
    if level.facts:
        facts = Tree(Text("facts that were read", style="bold blue"))
        for fact in level.facts:
            age = f", {age_in_words(fact.age)}" if fact.age is not None else ""
            line = Text.assemble(f"{printable(fact.path)} = ", (printable(written(fact.value)), "cyan"))
            facts.add(line.append(f"  {printable(fact.source)}{age}", style="dim"))
        console.print(facts)


def _policy(tree: Tree, each: Explained) -> None:
    mark, style = _MARKS[each.trace.status]
    effect = ("permit", "green") if each.trace.effect == "permit" else ("forbid", "red")
    head = Text.assemble((f"{mark} ", style), effect, f" {printable(each.id)} ", (each.trace.status, style))
    head.append(f"  {printable(each.path)}:{each.line}" if each.path else "", style="dim")
    if each.trace.error:
        head.append(f"  {printable(each.trace.error)}", style="bold red")
    branch = tree.add(head)
    for condition in each.trace.conditions:
        _clause(branch, condition, each.temporal)


def _clause(tree: Tree, clause: Clause, temporal: dict[str, Temporal]) -> None:
    line = Text.assemble(_value(clause), "  ", printable(clause.text))
    if clause.state == "skipped":
        line.stylize("dim")
    branch = tree.add(line)
    for name, history in temporal.items():
        if clause.reads == _LEAF + name:
            _temporal(branch, history)
            return
    for part in clause.parts:
        if part.reads == clause.reads and not part.parts and part.text == clause.text:
            continue
        _clause(branch, part, temporal)


def _temporal(tree: Tree, part: Temporal) -> None:
    mark = ("true", "green") if part.holds else ("false", "red")
    branch = tree.add(Text.assemble(mark, f"  {printable(part.text)}"))
    for value in part.values:
        branch.add(Text(printable(value), style="cyan"))
    for event in part.events[:_EVENTS]:
        branch.add(Text(f"{moment(event.at)}  {printable(event.told)}", style="cyan"))
    if len(part.events) > _EVENTS:
        branch.add(Text(f"and {len(part.events) - _EVENTS} more", style="dim"))
    for below in part.parts:
        _temporal(branch, below)


def _value(clause: Clause) -> Text:
    if clause.state == "skipped":
        return Text("·", style="dim")
    if clause.state == "failed":
        return Text(f"failed ({printable(clause.error)})", style="bold red")
    if clause.state == "unknown":
        return Text("unknown", style="magenta")
    if isinstance(clause.value, bool):
        return Text("true" if clause.value else "false", style="green" if clause.value else "red")
    return Text(printable(written(clause.value)), style="cyan")
