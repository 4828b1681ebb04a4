"""Starting, ending and showing tasks (docs/design/deciding.md)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from remit.core import bounds
from remit.core.decisions import Reason
from remit.core.errors import Conflict, Forbidden, InvalidInput, NotFound, TooLarge
from remit.core.identities import Identity
from remit.core.ids import new_id
from remit.core.intents import Intent
from remit.core.tasks import TaskEnd, TaskRequest, TaskView
from remit.decide import entries
from remit.decide.operations import Operations, check_length, existing_task
from remit.decide.sequence import Needs, Step
from remit.decide.session import Task
from remit.decide.world import World, identity_stream, session_stream
from remit.tasks.parameters import check_narrows, check_params

# From each state, the states that somebody may move a task to.
MOVES: Final[dict[str, frozenset[str]]] = {
    "open": frozenset({"completed", "cancelled", "suspended"}),
    "suspended": frozenset({"open", "cancelled", "completed"}),
}


class TaskOperations(Operations):
    """Operations on tasks."""

    async def start_task(self, caller: Identity, request: TaskRequest, person: Identity | None) -> TaskView:
        """Opens a task; `person` is on whose behalf, proved by that person's own token, never a name."""
        who = (identity_stream(caller.id), identity_stream(request.workload[: bounds.NAME_BYTES]))
        above = (session_stream(request.parent[: bounds.NAME_BYTES]),) if request.parent else ()
        return await self._run(
            lambda world, now: self._start_task(caller, request, person, world, now), Needs(reads=who, appends=above)
        )

    async def end_task(self, caller: Identity, task_id: str, state: TaskEnd, reason: str) -> TaskView:
        """Completes, cancels, suspends or reopens a task; ending one ends the tasks below it, deepest first."""
        needs = Needs(reads=(identity_stream(caller.id),), appends=(session_stream(task_id[: bounds.NAME_BYTES]),))
        return await self._run(lambda world, now: self._end_task(caller, task_id, state, reason, world, now), needs)

    async def task(self, caller: Identity, task_id: str) -> TaskView:
        """How a task stands, for its starter, its workload or an administrator."""

        def work(world: World, now: int) -> Step[TaskView]:
            self._active(caller, world, now)
            task = existing_task(world, task_id)
            if caller.id not in (task.starter, task.workload):
                self._require(caller, "record.read", self._installation(), {}, world, now)
            return Step(task.view(), durable=False)

        streams = (identity_stream(caller.id), session_stream(task_id[: bounds.NAME_BYTES]))
        return await self._run(work, Needs(reads=streams, records=False))

    def _start_task(
        self, caller: Identity, request: TaskRequest, person: Identity | None, world: World, now: int
    ) -> Step[TaskView]:
        self._active(caller, world, now)
        intent = self.configuration.intents.get(request.intent)
        if intent is None:
            raise NotFound(
                "intent_unknown", f"there is no intent `{request.intent[:64]}`", "`remit check` lists the intents"
            )
        workload = world.registration(request.workload)
        if workload is None or "workload" not in workload.roles:
            raise NotFound(
                "workload_unknown",
                f"there is no workload `{request.workload[:128]}`",
                "`remit workload list` shows them",
            )
        _check_request(request, intent)
        params = check_params(intent, request.params)
        parent = self._parent(caller, request, intent, params, world, now)
        if parent is not None and person is not None and person.id != parent.on_behalf_of:
            # SECURITY: a child inherits the person; it can't name another one.
            raise InvalidInput("person_inherited", "a child task acts on behalf of its parent's person", "leave it out")
        context: dict[str, Any] = {
            "hasPrompt": bool(request.prompt),
            "workload": {"__entity": {"type": "Remit::Workload", "id": request.workload}},
        }
        if request.case_type:
            context["caseType"] = request.case_type
        if parent is not None:
            context["parent"] = parent.id
        resource = ("Remit::Intent", intent.name)
        refusal = self._decide(caller, "task.start", resource, context, world, related=(workload,))
        if refusal is None and workload.state != "active":
            refusal = Reason(code=f"identity_{workload.state}", message=f"`{workload.id}` is {workload.state}")
        behalf = world.registration(parent.on_behalf_of if parent is not None else person.id if person else "")
        if refusal is None and behalf is None and person is not None:
            # SECURITY: an outside issuer names persons who are nobody here.
            refusal = Reason(code="identity_unknown", message=f"`{person.id}` is not registered")
        if refusal is None and behalf is not None and behalf.state != "active":
            # SECURITY: a person's token outlives the person's quarantine.
            refusal = Reason(code=f"identity_{behalf.state}", message=f"`{behalf.id}` is {behalf.state}")
        if refusal is None and parent is not None and caller.id not in (parent.workload, parent.starter):
            refusal = Reason(
                code="parent_not_yours",
                message="a child task is started by the workload or the starter of its parent",
            )
        if refusal is None and parent is not None and caller.id == parent.workload and caller.key != parent.key:
            # SECURITY: a workload that runs twice can't hang a child on its other run's task.
            refusal = Reason(code="task_key_mismatch", message="the parent is bound to another key than the caller's")
        if refusal is not None:
            raise self._refused(
                caller, "task.start", refusal, {"intent": intent.name, "workload": workload.id}, world, now
            )
        root = world.session(parent.root) if parent is not None else None
        above = entries.behind((root.tasks[root.root],)) if root is not None else ""
        return self._open(caller, request, intent, params, parent, person, above, now)

    def _parent(
        self,
        caller: Identity,
        request: TaskRequest,
        intent: Intent,
        params: dict[str, Any],
        world: World,
        now: int,
    ) -> Task | None:
        if not request.parent:
            return None
        session = world.session(request.parent)
        parent = existing_task(world, request.parent)
        if session is None or any(each.state != "open" or each.expires <= now for each in session.chain(parent)):
            raise Conflict("parent_not_open", f"the task `{parent.id}` is not open", "start the child before it ends")
        if parent.depth + 1 > bounds.TASK_DEPTH or parent.children >= bounds.CHILDREN_PER_TASK:
            raise TooLarge("too_many_children", "the task tree is too deep or too wide", "complete this task first")
        if any(isinstance(value, dict) for value in parent.params.values()):
            # SECURITY: nobody can tell any more whether a child would be narrower.
            raise Conflict("parent_value_erased", "a parameter of the parent was erased", "start a task of its own")
        declared = self.configuration.intents.get(parent.intent)
        if declared is None:
            raise Conflict("intent_unknown", f"the intent `{parent.intent}` is no longer declared")
        try:
            check_narrows(declared, parent.params, intent, params)
        except Forbidden as error:
            reason = Reason(code=error.code, message=error.message, next_step=error.next_step)
            context = {"intent": intent.name, "parent": parent.id, "workload": request.workload}
            raise self._refused(caller, "task.start", reason, context, world, now) from None
        if request.prompt:
            # SECURITY: the user's own words are the root's; whoever starts a child can't put others in their place.
            raise InvalidInput("prompt_inherited", "a child task has the prompt of its root", "leave it out")
        return parent

    def _open(
        self,
        caller: Identity,
        request: TaskRequest,
        intent: Intent,
        params: dict[str, Any],
        parent: Task | None,
        person: Identity | None,
        above: str,
        now: int,
    ) -> Step[TaskView]:
        if parent is None:
            task_id = root = new_id("t", now)
            expires = now + intent.time_to_live * 1000
        else:
            task_id, root = f"{parent.id}.{parent.children + 1}", parent.root
            expires = min(parent.expires, now + intent.time_to_live * 1000)
        body: dict[str, Any] = {
            "config": self.configuration.digest,
            "emergency": intent.emergency or (parent is not None and parent.emergency),
            "expires": expires,
            "intent": intent.name,
            "by": caller.id,
            "caseType": request.case_type or (parent.case_type if parent else ""),
            "key": request.key,
            "limits": _limits(intent, params),
            "onBehalfOf": parent.on_behalf_of if parent else person.id if person else "",
            "params": params,
            "parent": parent.id if parent else "",
            "prompt": request.prompt,
            "reason": "",
            "root": root,
            "starter": caller.id,
            "state": "open",
            "task": task_id,
            "workload": request.workload,
        }
        # A long value is committed to as well, and not cut to its digest: decisions need the value itself.
        personal = [
            f"params.{name}" for name, value in params.items() if intent.params[name].personal or _is_long(value)
        ]
        if request.prompt:
            personal.append("prompt")
        entry = entries.task_open(body, tuple(personal), above or body["onBehalfOf"] or caller.id)
        view = TaskView(
            id=task_id,
            root=root,
            parent=body["parent"],
            intent=intent.name,
            workload=request.workload,
            starter=caller.id,
            state="open",
            created=now,
            expires=expires,
            depth=task_id.count("."),
            params=params,
            case_type=body["caseType"],
            on_behalf_of=body["onBehalfOf"],
            emergency=body["emergency"],
        )
        return Step(view, (entry,))

    def _end_task(
        self, caller: Identity, task_id: str, state: TaskEnd, reason: str, world: World, now: int
    ) -> Step[TaskView]:
        self._active(caller, world, now)
        check_length(reason, "reason")
        task = existing_task(world, task_id)
        context = {
            "isStarter": caller.id == task.starter,
            "isSuspender": task.state != "suspended" or caller.id == self._suspender(task),
            "starter": task.starter,
            "state": state,
            "workload": {"__entity": {"type": "Remit::Workload", "id": task.workload}},
        }
        refusal = self._decide(caller, "task.end", self._installation(), context, world)
        if refusal is not None:
            raise self._refused(caller, "task.end", refusal, {"target": task_id}, world, now)
        if task.state == state:
            return Step(task.view())
        if state == "open" and (refusal := self._too_risky(task, world, now)) is not None:
            raise self._refused(caller, "task.end", refusal, {"target": task_id}, world, now)
        if state not in MOVES.get(task.state, frozenset()):
            raise Conflict("task_ended", f"the task is {task.state}; it can't become {state}", "start another task")
        session = world.session(task_id)
        changed = session.descendants(task_id) if session and state != "open" else []
        moved = [
            entries.task_change(each.id, each.root, state, caller.id, reason)
            for each in (*changed, task)
            if state in MOVES.get(each.state, frozenset())
        ]
        return Step(msgspec.structs.replace(task.view(), state=state), tuple(moved))

    def _suspender(self, task: Task) -> str:
        """Who may resume a suspended task besides administrators: who suspended it; its starter where Remit did."""
        if task.moved_by != self.configuration.service:
            return task.moved_by
        # SECURITY: a workload that started its own task must not go on by itself with what its risk has stopped.
        return task.starter if task.starter != task.workload else ""

    def _too_risky(self, task: Task, world: World, now: int) -> Reason | None:
        """Why a task is not resumed: its intent, or that of a task above it, does not bear the workload's risk."""
        life, session = world.life(task.workload), world.session(task.id)
        level = life.risk_at(now, self.configuration.risk.signals) if life is not None else 0
        for each in session.chain(task) if session is not None else ():
            intent = self.configuration.intents.get(each.intent)
            if intent is not None and level > intent.risk_at_most:
                return Reason(
                    code="risk_too_high",
                    message=f"the risk is {level}, and the intent `{each.intent}` allows {intent.risk_at_most}",
                    next_step="wait until the risk signals expire, or have an administrator look at them",
                )
        return None


def _check_request(request: TaskRequest, intent: Intent) -> None:
    if len(request.prompt.encode(errors="surrogatepass")) > bounds.PROMPT_BYTES:
        raise TooLarge("prompt_too_long", f"the prompt is longer than {bounds.PROMPT_BYTES} bytes", "shorten it")
    if not request.key or len(request.key) > 64:
        raise InvalidInput("key_missing", "a task is bound to a key from the first day", "send its RFC 7638 thumbprint")
    if request.case_type and request.case_type not in intent.case_types:
        known = ", ".join(intent.case_types) or "none"
        raise InvalidInput(
            "case_type_unknown", f"`{request.case_type[:64]}` is no case type of this intent", f"known: {known}"
        )


def _limits(intent: Intent, params: dict[str, Any]) -> list[dict[str, Any]]:
    """The limits as the record states them, with the task's parameters put in, for a verifier without other files."""
    found: list[dict[str, Any]] = []
    for limit in intent.limits:
        shared = {"actions": list(limit.actions), "effects": list(limit.effects), "sum": limit.sum}
        name = f"{intent.name}/{limit.name}"
        if limit.calls is not None:
            found.append(shared | {"atMost": None, "calls": limit.calls, "name": name})
        if limit.sum:
            bound = limit.at_most
            if bound.startswith("params."):
                name_ = bound.removeprefix("params.")
                # SECURITY: a personal parameter stands in the record as a commitment, here as anywhere.
                if not intent.params[name_].personal:
                    bound = str(params.get(name_, 0))
            found.append(shared | {"atMost": bound, "calls": None, "name": name + "#sum"})
    return found


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value.encode()) > bounds.STRING_IN_RECORD
