"""Score, evidence, settings and history of one mail -> keep, unsure or junk; whether to move it; and why.

The order of the rules is the order of the promises: what the person said about this very mail, then the
person's rules, then what protects good mail, then the model. Only the last may be wrong, so only the last
needs evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from spamd.domain import Account, Decision, Evidence, Label, ListEntry, Mode, Score, Verdict
from spamd.judgement.brake import FREE, Brake
from spamd.judgement.calibration import told
from spamd.reasons import likelihood

WITHOUT_EVIDENCE = 0.99
"""Probability from which a mail is called junk (never moved) before there is any evidence."""


@dataclass(frozen=True, slots=True)
class History:
    """What is known of this mail and its sender besides the score.

    authenticated: what the receiving server itself found (DMARC, or SPF/DKIM aligned with From): True passed,
    False failed, None nothing was said.
    unlike: the server could not prove this one, though it proves that sender's mail; it says why.
    """

    sender: str = ""  # address, lower case
    rescued: bool = False  # the person took this very mail out of Junk, or said it is good, once
    said: Label | None = None  # the person's word on this very mail
    moved_before: bool = False  # we moved this very mail once already
    contact: bool = False  # the person wrote to this address
    own: bool = False  # From is the person's own address
    authenticated: bool | None = None
    unlike: bool = False

    @property
    def forged(self) -> bool:
        """Does the server speak against the sender?"""
        return self.authenticated is False or self.unlike


def match(entries: Sequence[ListEntry], sender: str, now: float) -> ListEntry | None:
    """The most exact rule for a sender: an address beats a domain, a longer domain a shorter.

    Keep beats junk.
    """
    _, _, domain = sender.rpartition("@")
    best: tuple[int, bool, ListEntry] | None = None
    for entry in entries:
        if entry.expires_at is not None and entry.expires_at <= now:
            continue
        value = entry.value.strip().lower().removeprefix("@").removeprefix("*.")
        if "@" in value:
            fits, rank = value == sender, 10_000
        else:
            fits, rank = bool(domain) and (domain == value or domain.endswith("." + value)), len(value)
        if fits and (best is None or (rank, entry.label is Label.HAM) > best[:2]):
            best = (rank, entry.label is Label.HAM, entry)
    return best[2] if best else None


def effective_mode(account: Account, evidence: Evidence) -> Mode:
    """The person's word where there is one, else what evidence allows."""
    return account.mode if account.mode is not None else evidence.mode


def decide(
    score: Score,
    *,
    evidence: Evidence,
    account: Account,
    history: History,
    lists: Sequence[ListEntry] = (),
    brake: Brake = FREE,
    paused: bool = False,
    now: float,
) -> Decision:
    """What to do with one new mail. Every decision carries one sentence for the person."""
    mode = effective_mode(account, evidence)
    rule = match(lists, history.sender, now)
    wanted = _spoken(history, rule) or _known(history, score) or _judged(score, evidence, account, history)
    if rule is not None and rule.label is Label.HAM and history.forged and wanted.reason != "rescued":
        but = f"{rule.value} is on your list of senders to keep, but the server says that this is not from there."
        wanted = replace(wanted, explanation=f"{wanted.explanation} {but}")
    if not wanted.move:
        return wanted
    return _held_back(wanted, account, history, mode, brake, paused)


def _spoken(history: History, rule: ListEntry | None) -> Decision | None:
    """What the person has said: about this mail, about its sender."""
    if history.rescued or history.said is Label.HAM:
        return _keep("rescued", "You said that this mail is good; it is never filed again.")
    if rule is not None and rule.label is Label.HAM:
        if history.forged:
            return None  # the name on the list was forged: the list does not speak for this mail
        return _keep("allowed", f"{rule.value} is on your list of senders to keep.")
    if rule is not None and rule.label is Label.SPAM:
        return Decision(
            Verdict.JUNK, True, "blocked", f"{rule.value} is on your list of senders to treat as junk."
        )
    return None


def _known(history: History, score: Score) -> Decision | None:
    """A sender whom the person knows: exempt from what the model thinks, but not from what the person said of such a mail."""
    if history.authenticated is not True or Label.SPAM in (history.said, score.copy_of):
        return None
    if history.contact:
        return _keep("contact", "You have written to this sender, and the server confirmed who sent it.")
    if history.own:
        return _keep("own", "It comes from your own address, and the server confirmed it.")
    return None


def _judged(score: Score, evidence: Evidence, account: Account, history: History) -> Decision:
    """What the model says, against the thresholds that evidence gave."""
    if history.said is Label.SPAM:
        return Decision(Verdict.JUNK, True, "said", "You said that this mail is junk.")
    if score.copy_of is Label.HAM:
        return _keep("copy", "It is nearly the same as a mail you said is good.")
    if score.copy_of is Label.SPAM:
        return Decision(Verdict.JUNK, True, "copy", "It is nearly the same as a mail you said is junk.")
    likely = likelihood(told(score.probability, evidence.told))
    junk_at = WITHOUT_EVIDENCE if evidence.junk_threshold is None else evidence.junk_threshold
    if score.probability >= junk_at:
        return Decision(
            Verdict.JUNK,
            True,
            "score",
            f"It looks like junk ({likely}; moved from {likelihood(told(junk_at, evidence.told))}).",
        )
    if score.probability >= min(evidence.unsure_threshold, junk_at):
        to_folder = account.unsure_folder is not None
        return Decision(
            Verdict.UNSURE, to_folder, "score", f"It may be junk ({likely}), but that is not sure enough."
        )
    return _keep("score", f"It looks like good mail ({likely} junk).")


def verdict_at(probability: float, *, junk: float, unsure: float) -> Verdict:
    """What thresholds alone would say: of a mail that lies in no account."""
    if probability >= junk:
        return Verdict.JUNK
    return Verdict.UNSURE if probability >= unsure else Verdict.KEEP


def _held_back(
    wanted: Decision, account: Account, history: History, mode: Mode, brake: Brake, paused: bool
) -> Decision:
    """Why a wanted move does not happen, or the wish itself."""
    if history.moved_before:
        return _stay(wanted, "once", "It was moved once already and came back; it stays where it is.")
    by_person = wanted.reason == "blocked" and account.mode is None
    if mode is Mode.LEARNING and not by_person:
        return _stay(wanted, "learning", "Nothing is moved while I am learning.")
    if mode is Mode.SUGGESTING and not by_person:
        if account.unsure_folder is None:
            return _stay(wanted, "suggesting", "For now I only suggest.")
        if wanted.verdict is Verdict.JUNK:  # not proven, so it goes where doubtful mail does
            instead = f"For now I only suggest: it goes to “{account.unsure_folder}”."
            wanted = Decision(Verdict.UNSURE, True, "suggesting", f"{wanted.explanation} {instead}")
    if paused or account.paused:
        return _stay(wanted, "paused", "Filtering is paused.")
    if brake.held:
        return _stay(wanted, "brake", f"Moving has stopped until you say go on: {brake.reason}")
    return wanted


def _keep(reason: str, explanation: str) -> Decision:
    return Decision(Verdict.KEEP, False, reason, explanation)


def _stay(wanted: Decision, reason: str, because: str) -> Decision:
    return Decision(wanted.verdict, False, reason, f"{wanted.explanation} {because}")
