"""The dpo stage: the weights by direct preference optimisation on hard rows, chosen on dev, resumable.

A pair is a train row, its gold label, and a label that is nearly as plausible (``preferences.hard``), or what a person
chose (``preferences.chosen``). The loss is TRL's, over the packed label tree (``preferences.pair_loss``); one run with
its files is ``loop``. ``bench/training/preferences.py`` measures what it brings behind sft.

DPO raises the chosen label over the rejected one, and nothing keeps it from lowering both (Pal et al. 2024, arXiv
2402.13228): so what the chosen label lost is watched, and stands in the history.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar, get_args

from labelwright.bundle.types import Bundle
from labelwright.data.asked.asking import asking
from labelwright.data.task import Example, Splits, Task
from labelwright.errors import RecipeError
from labelwright.settings import ABOVE_ZERO, Choice, Items, Range, Text
from labelwright.statistics.calibration import UNCALIBRATED
from optimizers.scores import dev_numbers, gold_of, kept_scores
from optimizers.stage import StageContext
from optimizers.training.loop import Training
from optimizers.training.preferences.chosen import check_chosen, read_chosen
from optimizers.training.preferences.hard import Opinion, confusions_opinion, hard_pairs, log_softmax, words_opinion
from optimizers.training.settings import Objective, Preferences, TrainingSettings

# By TRL's names. Left out: "aot", which sorts pairs across a batch, and so depends on how many fit into memory;
# "apo_down", which lowers the chosen label, where it is right here; those for scores other than a choice of two.
LOSS_TYPES = ("sigmoid", "hinge", "ipo", "robust", "apo_zero", "nca_pair", "sigmoid_norm")


@dataclass(frozen=True)
class DpoStage(TrainingSettings):
    """Tune the weights on pairs of labels, the better one over the other. Settings of the recipe's ``[dpo]`` table.

    A step is ``rows_per_step`` hard rows, each with all its pairs.

    Attributes
    ----------
    beta : float
        How firmly the weights are held to those that the stage starts from: the larger, the sooner a pair has moved
        them enough: at 1 by some 3 nats, at TRL's 0.1 by some 30, which was worse for labels (docs/results.md).
    loss_type : {"sigmoid", "hinge", "ipo", "robust", "apo_zero", "nca_pair", "sigmoid_norm"}
        TRL's.
    label_smoothing : float
        Share of the pairs that may be the wrong way round; of "robust" only.
    sft_weight : float
        Weight of the chosen label's own log loss a token, which keeps it from falling; 0 is off.
    hard : tuple of {"model", "words", "confusions"}
        Who may doubt a row: the model that the stage starts from, a classifier on characters that has not seen the row,
        and the confusion of the row's gold label with others in the eyes of both. Empty: no rows but a person's.
    margin : float
        A label is plausible whose log-probability comes so near to gold's, in nats, in one of these opinions.
    pairs_per_row : int
        Plausible labels of a row that gold is held against, at most.
    preferences : str
        A file of a person's choices; a row that stands in it has those pairs and no others.
    """

    name: ClassVar[str] = "dpo"

    steps: Annotated[int, Range(1)] = 20
    learning_rate: Annotated[float, ABOVE_ZERO] = 3e-4
    eval_every: Annotated[int, Range(1)] = 10
    beta: Annotated[float, Range(0, 100, "(]", "above 0, and at most 100")] = 1.0
    loss_type: Annotated[str, Choice(LOSS_TYPES)] = "sigmoid"
    label_smoothing: Annotated[float, Range(0, 0.5, "[)", "0 or more, and less than 0.5")] = 0.0
    sft_weight: Annotated[float, Range(0, 1000)] = 0.0
    hard: Annotated[tuple[Annotated[str, Choice(get_args(Opinion))], ...], Items()] = ("model", "words", "confusions")
    margin: Annotated[float, Range(0, 100)] = 1.0
    pairs_per_row: Annotated[int, Range(1, 1000)] = 2
    preferences: Annotated[str, Text()] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_smoothing and self.loss_type != "robust":
            raise RecipeError(
                f'[dpo] label_smoothing = {self.label_smoothing}: "{self.loss_type}" has none; set loss_type = "robust"'
            )
        if set_here := [name for name in ("steering_share", "augment") if getattr(self, name)]:
            both = " and ".join(set_here)
            raise RecipeError(f"[dpo] {both}: pairs are of the rows as they are; set it in [sft] or [grpo]")
        if not self.hard and not self.preferences:
            raise RecipeError("[dpo] hard = [] and no preferences: there are no pairs; name one of the two")
        if self.hard == ("confusions",):
            raise RecipeError('[dpo] hard = ["confusions"]: of whose answers? Add "model" or "words"')

    def check(self, splits: Splits, task: Task) -> None:
        """The file of preferences is read, hours before it is needed. Raises DataError (``check_chosen``)."""
        if self.preferences:
            check_chosen(self.preferences, splits.train, task)

    def run(self, bundle: Bundle, splits: Splits, context: StageContext) -> Bundle:
        """Train, keep the step that is best on dev, and return it if it beats the given bundle there.

        Where no row is hard there is nothing to train on, and the bundle stays.
        """
        started = time.perf_counter()
        context.tracker.params(asdict(self))
        pairs, said = self.pairs(bundle, splits.train, context)
        if not pairs:
            before = dev_numbers(
                UNCALIBRATED.apply(kept_scores(_as_trained(bundle), splits.dev, context, "dev")),
                gold_of(bundle, splits.dev),
            )
            settled = {"improved": False, "settings": asdict(self), "dev_before": before, "dev_after": before}
            seconds = round(time.perf_counter() - started, 1)
            return bundle.with_stage({"stage": self.name, **settled, **said, "seconds": seconds})
        rows = sorted({row for row, _, _ in pairs})
        place = {row: number for number, row in enumerate(rows)}
        asked = Preferences(
            pairs=tuple((place[row], chosen, rejected) for row, chosen, rejected in pairs),
            beta=self.beta,
            loss_type=self.loss_type,
            label_smoothing=self.label_smoothing,
            sft_weight=self.sft_weight,
        )
        objective = Objective("preference", self.validity, preferences=asked)
        hard = replace(splits, train=tuple(splits.train[row] for row in rows))
        training = Training.prepare(self, objective, bundle, hard, context)
        training.run()
        return training.settled(asdict(self), started, {**said, **self._watched(training)})

    def pairs(
        self, bundle: Bundle, train: Sequence[Example], context: StageContext
    ) -> tuple[list[tuple[int, int, int]], dict[str, Any]]:
        """All pairs by train row, and what the history says of them.

        Raises
        ------
        DataError
            The file of preferences cannot be read, or does not fit (``read_chosen``).
        """
        if self.preferences and (beyond := asking(bundle.task).beyond):
            raise RecipeError(f"[dpo] preferences: {beyond}, and what is preferred is a label")
        chosen = read_chosen(self.preferences, train, bundle.task) if self.preferences else None
        gold, said = gold_of(bundle, train), dict[str, Any]()
        opinions: dict[str, Any] = {}
        if "model" in self.hard:
            opinions["model"] = log_softmax(kept_scores(_as_trained(bundle), train, context, "train"))
        # A letter stands for another choice in every row: characters say nothing of it, nor do letters' confusions.
        if "words" in self.hard and not bundle.prompt.restricts_rows:
            opinions["words"] = words_opinion(train, gold, len(bundle.task.names), context.seed)
        if "confusions" in self.hard and opinions and not bundle.prompt.restricts_rows:
            opinions["confusions"] = confusions_opinion(gold, list(opinions.values()))
        found = hard_pairs(gold, opinions, self.margin, self.pairs_per_row)
        pairs = found.pairs
        if chosen:
            theirs = {row for row, _, _ in chosen.pairs}
            pairs = sorted([*(one for one in pairs if one[0] not in theirs), *chosen.pairs])
            said |= {"chosen_rows": len(theirs), "chosen_elsewhere": chosen.n_elsewhere}
            said["chosen_against_gold"] = chosen.n_against_gold
        n_rows = len({row for row, _, _ in pairs})
        return pairs, {"hard_rows": n_rows, "pairs": len(pairs), "doubted_by": found.n_doubted, **said}

    def _watched(self, training: Training) -> Mapping[str, Any]:
        """How pairs fared in the last steps, and whether the chosen labels lost probability, DPO's known failure."""
        last = training.lately(("rewards/accuracies", "rewards/chosen", "kl", "entropy"))
        if "rewards/chosen" not in last:
            return {}
        moved = last["rewards/chosen"] / self.beta
        return {
            "pairs_the_right_way": last["rewards/accuracies"],
            "chosen_log_prob_change": moved,
            "chosen_fell": moved < 0,
            "kl": last["kl"],
            "entropy": last["entropy"],
        }


def _as_trained(bundle: Bundle) -> Bundle:
    """The bundle as the training begins with it, whose calibration will no longer hold."""
    return replace(bundle, calibration=UNCALIBRATED)
