"""What it says that a person left mail lying: how much of a lesson that is depends on the mail, and on the person.

From one who drags away all junk that was missed, what stays is good mail, and nearly as good a lesson as their word. From
one who names a fifth of it, most of what is missed stays, too: taken for good mail it would teach the filter to miss
more of it. Which person this is can be seen without asking. Where the model is surest of junk, nearly all mail is junk:
of what it said so of and left in the inbox, either much is named, or little (`share_named`).

And where junk hides among the silent mail is seen as well. Where a person who names one in five has named three, twelve lie
unnamed; where they have named nothing, there is next to nothing. So a silent label weighs as much as

- the person's habit allows, `LOUD * sqrt(named / unnamed)` and 1 at most: 1 from nine tenths named, .35 for half, .17 for
  a fifth and fewer; and up to 1 where mail of about its score hides less than `CLEAN` of junk;
- less the share of junk there;
- and what the model doubted teaches only by the silence of a person who names nearly all.

The ledger keeps what silence weighs while nothing is known of the person. What it weighs as a lesson is asked anew each time
(`habit_at`), of what the ledger says of the weeks before that label was written: so a word that is taken back leaves no trace
in it.

It never becomes a label "junk", however sure the model is: a replay in which doubtful silence was half a junk label fed on its
own verdicts (1-ROCA of 4,000 mails of Enron, half named, after the first 1,000: 3.9 % instead of .8).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

LEFT = 0.3
"""Weight of mail that was only opened and left while nothing is known of the person."""
LEFT_DOUBTFUL = 0.1
"""The same where the model had doubts. Counts for the proof; from this weight on down silence teaches nothing."""
OPENED, ANSWERED = "opened and left", "answered"
FILED = "filed in a folder"
DOUBTED = "left among doubtful mail"
"""Why a mail is taken for left, as its label notes it. Of these the habit weighs all but DOUBTED: what a person names of the
inbox says nothing of the folder for doubtful mail, as they may never look there."""
AFTER = 3 * 86400.0
"""Mail that has lain for so long was left (seconds)."""
WINDOW = 21 * 86400.0
"""Mail that came within this time before a label tells the habit that it is weighed by (seconds)."""
FEWEST = 20
"""Junk mails named, before they tell what the person's silence means."""
LATELY = 100
"""So many of the newest ones tell whether the habit has changed."""
CAUTION = 0.67
"""Standard deviations by which the share is taken lower than it was seen: in three of four cases it is higher."""
FIRST, STEP = 10, 5
"""The share is looked for among so many mails the model was surest of, and by so many more at a time."""
PAUSE, PAUSES = 20 * 3600.0, 5.0
"""Who has named nothing of the mail of so many seconds, and so many times the usual, has stopped: their habit is not known any
more. No score tells it, as the model is taught that what is left is good: 1-ROCA after the first 1,000 of SpamAssassin, all
junk named for two weeks and then none, a replay, 2.69 % without this, .19 with it, .30 with a fixed weight."""
GROUPS, GROUP = 10, 20
"""Groups into which silent mail is parted by its score, at most, and mails in each, at least."""
LOUD = 0.35
QUIET = 0.17
"""What the habit allows at least, as for who names a fifth. From who named one in twenty nothing was heard, and a night knew
junk alone: SpamAssassin in 39 days, a replay, 1.44 % of the good mail moved instead of .10, 1-ROCA 1.83 instead of 1.31 %."""
CLEAN = 0.01
DOUBTFUL_MASS = 3.0
"""How many times the share of junk is taken off a doubtful mail's weight; off any other's once."""
NAMES_MOST = (0.8, 0.95)
"""Share named from which silence about doubtful mail begins to teach, and teaches in full."""


class Seen(NamedTuple):
    """A mail that stayed in the inbox."""

    at: float  # when it came, Unix time
    probability: float  # of junk, before the model learned it


class Stayed(NamedTuple):
    """A mail that stayed in the inbox, as the ledger has it. Unix times; None: it has not happened."""

    at: float  # when it came
    probability: float  # of junk, as first judged: when the person could first act on it
    left_at: float | None  # when it was seen opened and left
    said_at: float | None  # when the person said something of it
    named: bool  # what they said is: junk


@dataclass(frozen=True, slots=True)
class Habit:
    """What a person's silence means. share: of the junk left in the inbox, what they name; None: not known yet."""

    share: float | None = None
    edges: tuple[float, ...] = ()  # probabilities that part the silent mail into groups, ascending
    junk: tuple[float, ...] = (0.0,)  # share of junk in each group, one more than edges

    def weight(self, probability: float, *, doubtful: bool) -> float:
        """Of the label "good" for a mail that was opened and left. 0..1.

        probability: of junk, as judged when it came. doubtful: the verdict was not keep.
        """
        if self.share is None:
            return LEFT_DOUBTFUL if doubtful else LEFT
        allowed = max(QUIET, min(1.0, LOUD * math.sqrt(self.share / (1 - self.share))))
        junk = self.hidden(probability)
        if not doubtful:
            return (allowed + (1 - allowed) * max(0.0, 1 - junk / CLEAN)) * (1 - junk)
        begin, end = NAMES_MOST
        trusted = min(1.0, max(0.0, (self.share - begin) / (end - begin)))
        return max(LEFT_DOUBTFUL, allowed * trusted * (1 - DOUBTFUL_MASS * junk))

    def hidden(self, probability: float) -> float:
        """The share of junk among the silent mail of about that score, 0..1."""
        return self.junk[bisect_left(self.edges, probability)]


def habit(named: Sequence[Seen], silent: Sequence[Seen]) -> Habit:
    """Seen from mail that stayed in the inbox, of the same weeks: what the person called junk, and what they opened and left.

    A person who becomes lazy is noticed by the junk they named last; one who stopped, by the time since then.
    """
    share = share_named([one.probability for one in named], [one.probability for one in silent])
    if share is None or _stopped(named, silent):
        return Habit()
    lately = sorted(one.at for one in named)[-LATELY:][0]
    newest = share_named(
        [one.probability for one in named if one.at >= lately],
        [one.probability for one in silent if one.at >= lately],
    )
    share = min(share, newest or share)
    left = sorted(one.probability for one in silent)
    groups = max(1, min(GROUPS, len(left) // GROUP))
    edges = [left[number * len(left) // groups] for number in range(1, groups)]
    lying, said = [0] * groups, [1] * groups  # one more: none named may be chance
    for one in silent:
        lying[bisect_left(edges, one.probability)] += 1
    for one in named:
        said[bisect_left(edges, one.probability)] += 1
    unnamed = (1 - share) / share
    junk = (min(1.0, many * unnamed / max(1, of)) for many, of in zip(said, lying, strict=True))
    return Habit(share, tuple(edges), tuple(junk))


def habit_at(when: float, stayed: Sequence[Stayed]) -> Habit:
    """The person's habit as far as it could be seen at that time. stayed: at least the mail of `WINDOW` before, in any order."""
    named: list[Seen] = []
    silent: list[Seen] = []
    for one in stayed:
        if not when - WINDOW <= one.at < when - AFTER:
            continue
        if one.said_at is not None and one.said_at <= when:
            named += [Seen(one.at, one.probability)] if one.named else []
        elif one.left_at is not None and one.left_at <= when:
            silent.append(Seen(one.at, one.probability))
    return habit(named, silent)


def lesson(habit: Habit, probability: float, *, doubtful: bool, note: str) -> float:
    """What such a label weighs as a lesson, 0..1. note: why the mail is taken for left; an answer says more than being opened."""
    weight = (Habit() if note == DOUBTED else habit).weight(probability, doubtful=doubtful)
    return max(weight, LEFT) if note in (ANSWERED, FILED) else weight


def share_named(named: Sequence[float], silent: Sequence[float]) -> float | None:
    """Of the junk left in the inbox, the share that the person names: a cautious guess. None while too little is known.

    named, silent: probabilities of junk. Good mail is among the silent, so the share is looked for where there is least of it: above
    the score where it comes out highest.
    """
    if len(named) < FEWEST:
        return None
    most_junk = sorted(named, reverse=True)
    left = sorted(silent)
    best = 0.0
    for count in (*range(FIRST, len(most_junk), STEP), len(most_junk)):
        quiet = len(left) - bisect_left(left, most_junk[count - 1])
        best = max(best, _lower(count, count + quiet))
    return best


def _stopped(named: Sequence[Seen], silent: Sequence[Seen]) -> bool:
    """Did mail come for unusually long of which the person named nothing?"""
    times = sorted(one.at for one in named)
    usual = (times[-1] - times[0]) / (len(times) - 1)
    since = max((one.at for one in silent), default=times[-1]) - times[-1]
    return since >= max(PAUSE, PAUSES * usual)


def _lower(hits: int, total: int) -> float:
    """Wilson's lower bound on a share."""
    share, z = hits / total, CAUTION
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (middle - spread) / (1 + z * z / total)
