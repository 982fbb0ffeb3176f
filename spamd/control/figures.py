"""How it went: figures over time, the promise, and what would have been moved."""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from spamd.answers import (
    AccountView,
    CalibrationBin,
    HostCount,
    NightView,
    PromiseCheck,
    Shadow,
    ShadowMail,
    Trends,
)
from spamd.control.accounts import Accounts
from spamd.control.kept import Kept
from spamd.control.settings import SettingsNow
from spamd.control.telling import Telling, midnight
from spamd.domain import Account, Label, Mode, Verdict
from spamd.judgement import calibration, shadow
from spamd.judgement.calibration import told
from spamd.judgement.evidence import upper_bound

if TYPE_CHECKING:
    from spamd.model.bundle import Bundles
    from spamd.model.scoring import Scorer
    from spamd.store.database import Store

DAY = 86400.0
SHADOW_SHOWN = 100
CALIBRATION_EDGES = (0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0)


class Figures:
    """Of all accounts."""

    def __init__(
        self,
        store: Store,
        scorer: Scorer,
        bundles: Bundles,
        settings_now: SettingsNow,
        accounts: Accounts,
        telling: Telling,
        kept: Kept,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._scorer = scorer
        self._bundles = bundles
        self._settings = settings_now
        self._accounts = accounts
        self._telling = telling
        self._kept = kept
        self._clock = clock

    def trends(self, days: int = 30) -> Trends:
        days = max(1, min(days, 730))
        trends: Trends = self._kept.remember(f"trends {days}", 60.0, lambda: self._trends(days))
        return trends

    def shadow(self, days: int = 7, account: str | None = None) -> tuple[Shadow, ...]:
        """Per account: what would have been moved in the last days at the threshold that would hold now, and what
        the person said of it.
        """
        days = max(1, min(days, 90))
        views = [self._accounts.one(account)] if account else self._accounts.all()
        return tuple(
            self._kept.remember(f"shadow {view.account.name} {days}", 5.0, partial(self._shadow, view, days))
            for view in views
        )

    def _trends(self, days: int) -> Trends:
        now = self._clock()
        since = midnight(midnight(now) - (days - 1) * DAY + DAY / 2)  # a day with a clock change is no DAY
        return Trends(
            days=days,
            daily=tuple(self._store.daily_counts(since)),
            promises=tuple(self._promise(account) for account in self._settings.now().accounts),
            calibration=self._calibration(),
            hosts=tuple(HostCount(host, count) for host, count in self._store.link_hosts(since, limit=12)),
            nights=tuple(
                NightView(
                    card.id,
                    card.created_at,
                    card.labels.get("ham", 0),
                    card.labels.get("spam", 0),
                    dict(card.figures),
                    tuple(card.reasons),
                )
                for card in sorted(self._bundles.list(), key=lambda card: card.created_at)
                if not card.id.startswith("base-")
            ),
        )

    def _promise(self, account: Account) -> PromiseCheck:
        """Good mail of 90 days: what stayed, and what we moved to Junk and the person fetched out again."""
        since = self._clock() - 90 * DAY
        buried = self._store.buried(account.name, since)
        kept = self._store.counts(account.name, since).get(Verdict.KEEP.value, 0)
        total = kept + buried
        return PromiseCheck(
            account=account.name,
            promise=account.promise,
            ham=total,
            buried=buried,
            share=buried / total if total else None,
            upper=upper_bound(buried, total) if total else None,
        )

    def _calibration(self) -> tuple[CalibrationBin, ...]:
        """Mail by the probability it was given before it was learned, as it would be told now, and how much of it was spam."""
        counts, spams = Counter[int](), Counter[int]()
        sums = [0.0] * len(CALIBRATION_EDGES)
        lines = {account: known.told for account, known in self._telling.evidence().items()}
        for account in self._settings.now().accounts:
            line = lines.get(account.name, calibration.AS_IT_IS)
            for given, label, _, _ in self._store.evidence_points(account.name):
                probability = told(given, line)
                place = (
                    min(bisect.bisect_right(CALIBRATION_EDGES, probability), len(CALIBRATION_EDGES) - 1) - 1
                )
                counts[place] += 1
                sums[place] += probability
                spams[place] += label is Label.SPAM
        return tuple(
            CalibrationBin(low, high, sums[n] / counts[n], spams[n] / counts[n], counts[n])
            for n, (low, high) in enumerate(itertools.pairwise(CALIBRATION_EDGES))
            if counts[n]
        )

    def _shadow(self, view: AccountView, days: int) -> Shadow:
        since = self._clock() - days * DAY
        evidence = self._telling.evidence().get(view.account.name)
        proven = evidence is not None and evidence.junk_threshold is not None
        threshold = (
            evidence.junk_threshold
            if evidence is not None and evidence.junk_threshold is not None
            else self._scorer.card.junk_threshold
        )
        found: dict[str, list[ShadowMail]] = {outcome: [] for outcome in ("wrong", "missed", "open", "right")}
        line = evidence.told if evidence is not None else calibration.AS_IT_IS
        counts, judged = Counter[str](), 0
        for mail, first in self._store.first_scores(view.account.name, since):
            judged += 1
            outcome = shadow.outcome(mail, first, threshold)
            if outcome is not None:
                counts[outcome] += 1
                if len(found[outcome]) < SHADOW_SHOWN:
                    found[outcome].append(
                        ShadowMail(self._telling.mails([mail])[0], told(first, line), outcome)
                    )
        return Shadow(
            account=view.account.name,
            mode=view.state.mode,
            since=since,
            judged=judged,
            threshold=told(threshold, line),
            proven=proven,
            right=counts["right"],
            wrong=counts["wrong"],
            open=counts["open"],
            missed=counts["missed"],
            mails=tuple(itertools.chain(*found.values()))[:SHADOW_SHOWN],
            text=_shadow_text(counts, judged, days, view.state.mode),
        )


def _shadow_text(counts: Mapping[str, int], judged: int, days: int, mode: Mode) -> str:
    """ "This week, had it been filtering, 12 of 140 mails would have been moved: 9 right, 1 wrong, 2 without ..."."""
    span = "This week" if days == 7 else f"In the last {days} days" if days > 1 else "Today"
    if not judged:
        return f"{span} no mail was judged."
    moved = counts["right"] + counts["wrong"] + counts["open"]
    were = "was" if moved == 1 else "were"
    what = f"{were} or would be moved" if mode is Mode.FILTERING else "would have been moved"
    text = f"{span} {moved} of {judged} {'mail' if judged == 1 else 'mails'} {what}"
    if moved:
        parts = [f"{counts['right']} right", f"{counts['wrong']} wrong"]
        if counts["open"]:
            parts.append(f"{counts['open']} without your word")
        text += f": {', '.join(parts)}"
    if counts["missed"]:
        text += f". Of what you called junk, {counts['missed']} would have stayed"
    return text + "."
