"""The data loaders of a run, which Lightning creates when the number of processes is known."""

from __future__ import annotations

import lightning.pytorch as pl

from vertebra.cpus import cpus_each
from vertebra.data.augmentation.mixing import mixable
from vertebra.data.augmentation.user_transform import UserTransform
from vertebra.data.loaders import Loader, build_loader
from vertebra.data.open_cache import open_cache
from vertebra.data.sampler import MixSampler
from vertebra.data.samples import MixedData
from vertebra.data.sources import Source
from vertebra.data.transforms import mirror_refusals
from vertebra.errors import ConfigError
from vertebra.model import VisionModel
from vertebra.model_info import ModelInfo, model_info
from vertebra.recipe.augment import Augment
from vertebra.recipe.augment_effect import check_effect
from vertebra.tasks import all_image_level, get_task
from vertebra.training.resolved_config import ResolvedTrain
from vertebra.training.user_transform import Transform, check_transform


class RunData(pl.LightningDataModule):
    """The training and evaluation data of a run.

    Args:
        model: has the branches' labels, the canvas and the number of channels.
        recipe: batch size, augmentation, seed.
        train: training data sets.
        val: data sets to evaluate on after each epoch.
        transform: the user's own in place of the recipe's augmentation, if the recipe names one.

    Raises:
        ConfigError: the recipe names a transform, and none is given.
    """

    def __init__(
        self,
        model: VisionModel,
        recipe: ResolvedTrain,
        train: list[Source],
        val: list[Source],
        transform: Transform | None = None,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        check_transform(recipe, transform)
        self.augment: Augment | UserTransform = (
            Augment.from_options(recipe.augment.name, recipe.augment.options)
            if transform is None
            else UserTransform(transform)
        )
        self.train_set = mixed(model_info(model), train, recipe.seed, self.augment, recipe.reduced_decoding)
        self.val_set = mixed(model_info(model), val, recipe.seed, None)

    def open_cache(self, sharing: int = 1) -> list[str]:
        """Keeps decoded images, if `train.cache` is set; see `vertebra.data.open_cache.open_cache`.

        Args:
            sharing: training processes on this machine.

        Returns:
            Messages.
        """
        return (
            []
            if self.recipe.cache is None
            else [open_cache([self.train_set, self.val_set], self.recipe.cache, sharing)]
        )

    def check_augment(self) -> None:
        """Checks that each option of the augmentation has an effect on the training images.

        Raises:
            ConfigError: one has none.
        """
        if isinstance(self.augment, UserTransform):
            return
        options, labels = self.recipe.augment.options, self.train_set.labels
        tasks = [set(source.branches.values()) for source in self.train_set.sources]
        check_effect(
            options,
            self.augment,
            image_level=any(all_image_level([task]) for names in tasks for task in names),
            located=any(not all_image_level(names) for names in tasks),
            boxes=any(get_task(name).data.annotates_boxes for names in tasks for name in names),
            mixable=frozenset[str]().union(*(self._mixable(names) for names in tasks)),
            channels=self.train_set.channels,
        )
        reasons = mirror_refusals(labels)
        if options.get("horizontal_flip") and len(reasons) == len(labels):
            raise ConfigError(
                f"'train.augment.horizontal_flip' has no effect: no image is mirrored, for {next(iter(reasons.values()))}"
            )

    @staticmethod
    def _mixable(names: set[str]) -> frozenset[str]:
        """The operations on several images for a source with these tasks; its images may be labeled for some of them only."""
        return mixable(list(names)).union(*(mixable([name]) for name in names))

    def train_dataloader(self) -> Loader:
        """Training steps: lists of ``accumulate`` micro batches."""
        rank, world_size = self._process()
        size = self.recipe.batch_size * self.recipe.accumulate
        sampler = MixSampler(self.train_set, size, seed=self.recipe.seed, rank=rank, world_size=world_size)
        workers, sharing = self._workers()
        return build_loader(self.train_set, sampler, workers=workers, chunks=self.recipe.accumulate, sharing=sharing)

    def val_dataloader(self) -> Loader:
        """Labeled images in order, with their ground truth."""
        rank, world_size = self._process()
        sampler = MixSampler(self.val_set, self.recipe.batch_size, rank=rank, world_size=world_size, shuffle=False)
        workers, sharing = self._workers()
        return build_loader(self.val_set, sampler, workers=workers, sharing=sharing)

    def _process(self) -> tuple[int, int]:
        """(rank, number of processes)."""
        trainer = self.trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def unmirrored(self) -> list[str]:
        """A note for each branch whose images the recipe's horizontal flip leaves out, with the reason and a remedy."""
        if isinstance(self.augment, UserTransform) or not self.augment.horizontal_flip:
            return []
        reasons = mirror_refusals(self.train_set.labels).items()
        what = "its images are not mirrored in training, because"
        return [f"branch '{name}': {what} {reason}. 'vertebra data check' proposes pairs" for name, reason in reasons]

    def _workers(self) -> tuple[int, int]:
        """(loader processes, training processes on this machine, each of which has that many)."""
        sharing = 1 if self.trainer is None else self.trainer.num_devices
        return choose_workers(self.recipe.workers, sharing), sharing

    def notes(self) -> list[str]:
        """Warnings about images and objects that were left out."""
        return list(dict.fromkeys([*self.train_set.notes(), *self.val_set.notes()]))


def mixed(
    info: ModelInfo,
    sources: list[Source],
    seed: int,
    augment: Augment | UserTransform | None,
    reduced_decoding: bool = False,
) -> MixedData:
    """A mix of data sets for a model."""
    labels = {name: branch_labels for name, (_, branch_labels) in info.branches.items()}
    return MixedData(
        sources, labels, info.resize_spec, augment, seed=seed, channels=info.channels, reduced_decoding=reduced_decoding
    )


def evaluation_loader(info: ModelInfo, sources: list[Source], batch_size: int, workers: int) -> Loader:
    """The loader of labeled images in order, with their truths."""
    dataset = mixed(info, sources, 0, None)
    return build_loader(dataset, MixSampler(dataset, batch_size, shuffle=False), workers=workers)


def choose_workers(workers: int | None, sharing: int = 1) -> int:
    """Number of loader processes: ``workers``, or one for each usable CPU except the first, at most 8.

    Args:
        workers: a fixed number, or None for the default.
        sharing: processes of this machine that train together.
    """
    return workers if workers is not None else min(8, cpus_each(sharing) - 1)
