"""How a simulated customer lives: she is reached, signs up, orders, fades, drops out, perhaps returns.

Two things run side by side. Her *stage* moves when the next sign-up or order falls due: gaps are Erlang-k in season
time (k exponential phases), so each customer has her own rhythm. Her *mood* is a Markov chain in calendar time:

    engaged --fade_rate--> fading --1/35 days--> gone --return_rate--> engaged

An order that goes wrong sends an engaged customer to fading with probability `TROUBLE_FADES`. The pace of everything
due is 1, 0.45 and 0 in the three moods. All of it is memoryless given stage, mood and the time since the last order,
which is why the future can be drawn again from any date on (`simulated.future`).
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from training.simulated.season import Calendar, Flags, Floats, Ints

REACHED, LEAD, BUYER = 0, 1, 2
ENGAGED, FADING, GONE = 0, 1, 2
MOODS = ("engaged", "fading", "gone")
PACE = np.array([1.0, 0.45, 0.0])  # by mood
FADING_DAYS = 35.0
TROUBLE_PROBABILITY = 0.07  # per order
TROUBLE_FADES = 0.5

SIGNED_UP, ORDERED, TROUBLED, FADED, LEFT, RETURNED = range(6)
TURNS = ("signed_up", "ordered", "ordered_with_trouble", "faded", "left", "returned")
MOOD_AFTER = np.array([-1, -1, -1, FADING, GONE, ENGAGED])  # by turn


@dataclass(frozen=True)
class Nature:
    """The traits that drive a life, each of shape (n_people,), rates per day."""

    first_touch_day: Floats
    sign_up_rate: Floats
    first_order_rate: Floats
    purchase_rate: Floats
    regularity: Ints
    fade_rate: Floats
    return_rate: Floats

    @classmethod
    def of(cls, people: pd.DataFrame) -> "Nature":
        """The columns of the people (or truth) frame that bear the same names."""
        return cls(*(people[name].to_numpy() for name in cls.__dataclass_fields__))


@dataclass(frozen=True)
class State:
    """Where each life stands, arrays of shape (n_people,): `due` is season time at full pace until the next order."""

    day: Floats
    stage: Ints
    mood: Ints
    due: Floats


@dataclass(frozen=True)
class Turns:
    """What happened to whom and when, one entry a turn, sorted by person and day."""

    person: Ints
    day: Floats
    turn: Ints

    def where(self, mask: Flags) -> "Turns":
        """The turns for which the mask holds."""
        return Turns(self.person[mask], self.day[mask], self.turn[mask])

    @property
    def is_order(self) -> Flags:
        """True where a turn is an order, troubled or not."""
        return np.isin(self.turn, (ORDERED, TROUBLED))


def live(nature: Nature, state: State, until: float, calendar: Calendar, rng: np.random.Generator) -> Turns:
    """All turns after `state` up to and including day `until`, which the calendar must cover. One step a turn."""
    state = replace(state, stage=state.stage.copy(), mood=state.mood.copy(), due=state.due.copy(), day=state.day.copy())
    people = np.flatnonzero(state.day <= until)
    steps: list[Turns] = []
    while len(people):
        people = _step(nature, state, people, until, calendar, rng, steps)
    return _joined(steps)


def newborn(nature: Nature, rng: np.random.Generator) -> State:
    """Everybody at her first touch: reached, engaged, the sign-up due."""
    size = len(nature.first_touch_day)
    zeros = np.zeros(size, dtype=np.int64)
    return State(nature.first_touch_day, zeros, zeros, rng.exponential(size=size) / nature.sign_up_rate)


def _step(
    nature: Nature,
    state: State,
    people: Ints,
    until: float,
    calendar: Calendar,
    rng: np.random.Generator,
    steps: list[Turns],
) -> Ints:
    """Take each person to her next turn, change `state` in place, note the turns; the people not yet at the end."""
    pace = PACE[state.mood[people]]
    season_now = calendar.season_time(state.day[people])
    with np.errstate(divide="ignore"):
        due_at = calendar.day_of_season(season_now + state.due[people] / pace)
        mood_at = state.day[people] + rng.exponential(size=len(people)) / _mood_hazard(nature, state.mood, people)
    at = np.minimum(due_at, mood_at)
    on = at <= until
    people, at, is_due = people[on], at[on], (due_at <= mood_at)[on]
    worked = pace[on] * (calendar.season_time(at) - season_now[on])
    state.due[people] = np.maximum(state.due[people] - worked, 1e-9)
    state.day[people] = at
    due = _due_turns(nature, state, people[is_due], at[is_due], rng)
    steps += [due, _mood_turns(state, people[~is_due], at[~is_due]), _trouble(state, due, rng)]
    return people


def _mood_hazard(nature: Nature, mood: Ints, people: Ints) -> Floats:
    fading = np.full(len(people), 1 / FADING_DAYS)
    return np.choose(mood[people], [nature.fade_rate[people], fading, nature.return_rate[people]])


def _due_turns(nature: Nature, state: State, people: Ints, at: Floats, rng: np.random.Generator) -> Turns:
    was = state.stage[people]
    troubled = rng.random(len(people)) < TROUBLE_PROBABILITY
    turn = np.where(was == REACHED, SIGNED_UP, np.where(troubled, TROUBLED, ORDERED))
    state.stage[people] = np.minimum(was + 1, BUYER)
    state.due[people] = _fresh_due(nature, state.stage[people], people, rng)
    return Turns(people, at, turn)


def _fresh_due(nature: Nature, stage: Ints, people: Ints, rng: np.random.Generator) -> Floats:
    phases = np.where(stage == BUYER, nature.regularity[people], 1)
    rates = (nature.sign_up_rate, nature.first_order_rate, nature.purchase_rate)
    rate = np.choose(stage, [of_stage[people] for of_stage in rates])
    return np.asarray(rng.standard_gamma(phases) / (phases * rate), dtype=np.float64)


def _mood_turns(state: State, people: Ints, at: Floats) -> Turns:
    turn = np.array([FADED, LEFT, RETURNED])[state.mood[people]]
    state.mood[people] = MOOD_AFTER[turn]
    return Turns(people, at, turn)


def _trouble(state: State, due: Turns, rng: np.random.Generator) -> Turns:
    hit = (due.turn == TROUBLED) & (state.mood[due.person] == ENGAGED)
    hit &= rng.random(len(due.person)) < TROUBLE_FADES
    people = due.person[hit]
    state.mood[people] = FADING
    return Turns(people, due.day[hit], np.full(len(people), FADED))


def _joined(steps: list[Turns]) -> Turns:
    if not steps:
        return Turns(np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))
    person = np.concatenate([step.person for step in steps])
    day = np.concatenate([step.day for step in steps])
    order = np.lexsort((day, person))  # stable: the fading follows the order that caused it
    return Turns(person[order], day[order], np.concatenate([step.turn for step in steps])[order])


@dataclass(frozen=True)
class Spells:
    """Stretches of one mood, sorted by person and start: every person's first touch to the end, without a hole."""

    person: Ints
    start: Floats
    end: Floats
    mood: Ints

    @property
    def is_last(self) -> Flags:
        """True at each person's last spell."""
        return _is_last(self.person)

    def mood_at(self, person: Ints, day: Floats) -> Ints:
        """The mood of each person on each day, which must not precede her first touch."""
        position = np.searchsorted(_key(self.person, self.start), _key(person, day), side="right") - 1
        return self.mood[position]


def _is_last(person: Ints) -> Flags:
    """True at the last row of each person, of rows sorted by person."""
    return np.append(person[1:] != person[:-1], True)[: len(person)]


def _key(person: Ints, day: Floats) -> Floats:
    return person * 1e5 + day  # one sortable number; days stay below 100,000


def spells(nature: Nature, turns: Turns, until: float) -> Spells:
    """The moods of everybody touched by day `until`, cut there."""
    touched = np.flatnonzero(nature.first_touch_day <= until)
    changes = turns.where((MOOD_AFTER[turns.turn] >= 0) & (turns.day <= until))
    person = np.concatenate([touched, changes.person])
    start = np.concatenate([nature.first_touch_day[touched], changes.day])
    mood = np.concatenate([np.full(len(touched), ENGAGED), MOOD_AFTER[changes.turn]])
    order = np.lexsort((start, person))
    person, start, mood = person[order], start[order], mood[order]
    end = np.append(start[1:], until)[: len(start)]
    end[_is_last(person)] = until
    return Spells(person, start, end, mood)


@dataclass(frozen=True)
class Standing:
    """What is true of each person on a day and could be known of her life so far, arrays of shape (n_people,)."""

    day: float
    stage: Ints
    mood: Ints
    worked: Floats  # season time at full pace since the last order (or sign-up, or first touch)

    def of(self, people: Ints) -> "Standing":
        """The standing of some people only."""
        return replace(self, stage=self.stage[people], mood=self.mood[people], worked=self.worked[people])


def standing(nature: Nature, turns: Turns, day: float, calendar: Calendar) -> Standing:
    """The true state on a day, from the turns up to it. The not yet touched stand as newborn."""
    size = len(nature.first_touch_day)
    past = turns.where(turns.day <= day)
    due = past.where(MOOD_AFTER[past.turn] < 0)
    since = nature.first_touch_day.copy()
    np.maximum.at(since, due.person, due.day)
    moods = spells(nature, past, day)
    start = np.maximum(moods.start, since[moods.person])
    passed = np.maximum(calendar.season_time(moods.end) - calendar.season_time(start), 0.0) * PACE[moods.mood]
    mood = np.full(size, ENGAGED)
    mood[moods.person] = moods.mood  # sorted by start: the last one stays
    stage = np.minimum(np.bincount(due.person, minlength=size), BUYER)
    worked = np.bincount(moods.person, weights=passed, minlength=size).astype(np.float64)
    return Standing(day, stage, mood, worked)


def resume(nature: Nature, at: Standing, rng: np.random.Generator) -> State:
    """A state to live on from: the rest of the current gap drawn given that it has lasted `worked` already.

    Of an Erlang-k gap that lasts, fewer than k phases are done: a Poisson count cut off at k.
    """
    phases = np.where(at.stage == BUYER, nature.regularity, 1)
    rate = np.choose(at.stage, [nature.sign_up_rate, nature.first_order_rate, nature.purchase_rate])
    done = _cut_poisson(phases * rate * at.worked, phases, rng)
    due = rng.standard_gamma(phases - done) / (phases * rate)
    return State(np.full(len(phases), at.day), at.stage, at.mood, due)


def _cut_poisson(mean: Floats, below: Ints, rng: np.random.Generator) -> Ints:
    """Poisson counts given that each is below its limit, shape (n,)."""
    counts = np.arange(below.max(initial=1))
    factorial = np.cumprod(np.maximum(counts, 1.0))
    weights = mean[:, None] ** counts / factorial * (counts < below[:, None])
    passed = np.cumsum(weights, axis=1)
    return np.asarray((rng.random(len(mean))[:, None] * passed[:, -1:] >= passed).sum(axis=1))
