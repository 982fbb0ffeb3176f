"""A store with a clock that can be set, and short ways to make its rows."""

from __future__ import annotations

import dataclasses

import pytest

from spamd.domain import (
    AccountName,
    Decision,
    FolderName,
    Identity,
    Judgement,
    Label,
    LabelRecord,
    LabelSource,
    MessageRef,
    ModelId,
    MoveKind,
    MoveRecord,
    MoveState,
    Score,
    Sighting,
    Uid,
    UidValidity,
    Verdict,
)
from spamd.store.database import Store

HOME = AccountName("home")
NOON = 1_700_000_000.0


class Clock:
    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


class Rows:
    """Makes domain values; n names the mail."""

    account = HOME
    noon = NOON

    def identity(self, n):
        return Identity(f"hash:{n}")

    def rescued(self, store, n, account=HOME):
        past = store.past_of(account, [self.identity(n)]).get(self.identity(n))
        return past is not None and past.rescued

    def move_in(self, store, n):
        """Mail n is moved to Junk, from beginning to end."""
        store.advance(dataclasses.replace(store.intent(self.move(n)), state=MoveState.DONE))

    def ref(self, n, folder="INBOX", validity=1):
        return MessageRef(FolderName(folder), UidValidity(validity), Uid(n))

    def judgement(self, n, verdict="junk", at=NOON, account=HOME, probability=0.99, **more):
        return Judgement(
            id=0,
            account=account,
            identity=self.identity(n),
            at=at,
            score=Score(probability, 4.5, 3.25, ModelId("base-0123456789")),
            decision=Decision(Verdict(verdict), verdict == "junk", "score", "It looks like junk."),
            **more,
        )

    def label(self, n, label="ham", source="drag", at=NOON, account=HOME, weight=1.0, **more):
        return LabelRecord(account, self.identity(n), Label(label), LabelSource(source), weight, at, **more)

    def sighting(self, n, folder="INBOX", validity=1, account=HOME, seen_at=NOON, **more):
        return Sighting(account, self.ref(n, folder, validity), self.identity(n), seen_at=seen_at, **more)

    def move(self, n, kind="junk", state="intent", account=HOME, created_at=NOON, target="Junk", **more):
        empty = MoveRecord(
            id=0,
            account=account,
            identity=self.identity(n),
            kind=MoveKind(kind),
            state=MoveState(state),
            source=self.ref(n),
            target=FolderName(target),
            target_uid_validity=UidValidity(7),
            target_uid_next=Uid(100),
            target_uid=None,
            message_id=f"{n}@mail.example",
            size=1000,
            created_at=created_at,
            changed_at=created_at,
        )
        return dataclasses.replace(empty, **more)


@pytest.fixture
def rows():
    return Rows()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "spamd.db"


@pytest.fixture
def store(path, clock):
    with Store(path, clock=clock) as opened:
        yield opened
