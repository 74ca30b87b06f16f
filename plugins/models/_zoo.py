"""From a library's catalogue to specs: what the zoos of torchvision and timm share, light to import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmark_core.errors import InputError, MissingDataError, did_you_mean
from benchmark_core.identifiers import Parameter, Value
from benchmark_core.preprocessing import Preprocessing
from benchmark_core.specs import ModelFamily, ModelSpec
from plugins.models._weights_files import (
    SUFFIXES,
    Published,
    find_by_hash,
    find_published,
    is_file_name,
    is_short_hash,
    name_by_hash,
    named_file,
)
from plugins.models._zoo_catalogue import describe, library_version, read_catalogue

DEFAULT, UNTRAINED = "default", "none"
PARAMETERS = (
    Parameter(
        "weights",
        "str",
        DEFAULT,
        help="none (untrained), default (the library's own choice), one of its tags, or a .safetensors or .pth file",
    ),
    Parameter("seed", "int", 0, minimum=0, maximum=10**9, help="seed of untrained weights"),
    Parameter(
        "preprocessing",
        "str",
        "own",
        choices=("own", "paper"),
        help="own: as the library has it for these weights; paper: resized straight to 224 x 224",
    ),
    Parameter("class_token", "bool", True, help="keep class and register tokens among a layer's tokens"),
    Parameter(
        "pool",
        "str",
        "none",
        choices=("none", "avg", *(f"avg{k}" for k in range(2, 17))),
        help="average maps (and grids of tokens) over all positions, or over K x K positions side by side",
    ),
)


@dataclass(frozen=True)
class Zoo:
    """The models of one library.

    Parameters
    ----------
    library
        Its name, which is also the prefix of the identifiers.
    description
        One line for people.
    named_tags
        Whether the library's users write ``NAME.TAG``; that is then a name too.
    """

    library: str
    description: str
    named_tags: bool = False

    def family(self) -> ModelFamily:
        """Return the family to register."""
        return ModelFamily(prefix=self.library, names=self.names, resolve=self.resolve, description=self.description)

    def names(self) -> Sequence[str]:
        """Return the names of the architectures."""
        return list(read_catalogue(self.library))

    def resolve(self, name: str) -> ModelSpec:
        """Return the spec of an architecture (also by ``NAME.TAG``).

        Raises
        ------
        KeyError
            If there is none.
        """
        catalogue = read_catalogue(self.library)
        if name not in catalogue:
            architecture, _, tag = name.partition(".")
            if not self.named_tags or tag not in catalogue[architecture]["tags"]:
                raise KeyError(name)
            name = architecture
        return Architecture(self.library, name, catalogue[name]).spec(self.named_tags)


def published(library: str, entry: Mapping[str, Any]) -> Published:
    """Return the file of a tag, of which the catalogue has ``entry``."""
    name, repository = f"{library}/{entry['file']}", entry.get("repository")
    suffixes = SUFFIXES if repository else (*SUFFIXES[1:], SUFFIXES[0])  # that of its own format first
    files = (entry["repository_file"],) if entry.get("repository_file") else Published.files
    return Published(
        names=(name,) if name.endswith(SUFFIXES) else tuple(name + suffix for suffix in suffixes),
        url=entry.get("url"),
        repository=repository,
        files=files,
    )


@dataclass(frozen=True)
class Architecture:
    """One architecture of a library, and what the catalogue has of it."""

    library: str
    name: str
    entry: Mapping[str, Any]

    @property
    def identifier(self) -> str:
        """Identifier without parameters."""
        return f"{self.library}/{self.name}"

    def spec(self, named_tags: bool) -> ModelSpec:
        """Return the spec; everything that takes time is left for later."""
        tags = list(self.entry["tags"])
        return ModelSpec(
            name=self.identifier,
            version=1,
            load=self.load,
            layers=self.layers,
            parameters=PARAMETERS,
            variants={f"{self.identifier}.{tag}": {"weights": tag} for tag in tags} if named_tags else {},
            preprocessing=self.preprocessing,
            weights=self.weights,
            trained=self.trained,
            normalise=self.normalise,
            description=f"{self.name} as in {self.library}; {self._weights_in_words()}",
            reference=f"https://pypi.org/project/{self.library}/",
        )

    def _weights_in_words(self) -> str:
        default, tags = self.entry["default"], self.entry["tags"]
        if default is None:
            return "no trained weights"
        others = len(tags) - 1
        return f"weights {default}" + (f" (default) or {others} more" if others else "")

    def normalise(self, parameters: Mapping[str, Value | None]) -> dict[str, Value | None]:
        """Return parameters as the identifier has them; see :class:`ModelSpec`."""
        values = dict(parameters)
        weights = str(values["weights"])
        if weights == self.entry["default"]:
            values["weights"] = DEFAULT
        elif is_file_name(weights):
            values["weights"] = name_by_hash(self.identifier, weights)
        elif weights not in (DEFAULT, UNTRAINED, *self.entry["tags"]) and not is_short_hash(weights):
            known = ", ".join([UNTRAINED, DEFAULT, *list(self.entry["tags"])[:5]])
            hint = did_you_mean(weights, list(self.entry["tags"]))
            raise InputError(
                f"{self.identifier} has no weights {weights!r}.{hint} There are {known}, or a file with a / or a "
                ".safetensors or .pth ending."
            )
        if weights != UNTRAINED and values["seed"] != 0:
            raise InputError(f"{self.identifier}: seed={values['seed']} is for untrained weights; add weights=none")
        return values

    def trained(self, **parameters: Any) -> bool:
        """Whether weights were learned: all but ``weights=none``, unless the library has none."""
        weights = parameters["weights"]
        return weights != UNTRAINED and not (weights == DEFAULT and self.entry["default"] is None)

    def _tag(self, weights: str) -> str | None:
        """Return the tag whose configuration is used: that of ``weights``, or the default's for other weights."""
        return weights if weights in self.entry["tags"] else self.entry["default"]

    def _input(self, weights: str) -> Mapping[str, Any]:
        tag = self._tag(weights)
        found: Mapping[str, Any] = self.entry["input"] if tag is None else self.entry["tags"][tag]["input"]
        return found

    def weights(self, **parameters: Any) -> str | Path:
        """Return the recipe or the file of the weights; may download it."""
        weights = parameters["weights"]
        if weights == UNTRAINED:
            return f"drawn by {self.library} {library_version(self.library)}"
        if is_file_name(weights):
            return named_file(self.identifier, weights)
        if is_short_hash(weights):
            return find_by_hash(self.identifier, weights)
        tag = self._tag(weights)
        if tag is None:
            raise MissingDataError(
                f"{self.library} {library_version(self.library)} has no trained weights for {self.name}; "
                f"use {self.identifier}:weights=none, or name a file: {self.identifier}:weights=FILE"
            )
        return find_published(self.identifier, published(self.library, self.entry["tags"][tag]), tag)

    def layers(self, **parameters: Any) -> tuple[str, ...]:
        """Return the names of the stages or blocks."""
        if self.identifier == "torchvision/alexnet":  # the layers of the paper
            return tuple(f"features.{index}" for index in (2, 5, 7, 9, 12))
        return tuple(describe(self.library, self.name)["layers"])

    def preprocessing(self, **parameters: Any) -> Preprocessing:
        """Return the library's own transform, or that of the paper."""
        found = self._input(parameters["weights"])
        if parameters["preprocessing"] == "paper":
            paper = Preprocessing()
            if found["fixed"] and tuple(found["size"]) != paper.size:
                raise InputError(
                    f"{self.identifier} takes images of {found['size'][0]} x {found['size'][1]} pixels only, and "
                    "preprocessing=paper gives 224 x 224; use preprocessing=own"
                )
            return paper
        if "problem" in found:
            raise InputError(
                f"{self.identifier}: its own transform has no counterpart here ({found['problem']}); "
                "use preprocessing=paper"
            )
        height, width = found["size"]
        return Preprocessing(
            size=(height, width),
            shorter_side=found["shorter_side"],
            interpolation=found["interpolation"],
            mean=tuple(found["mean"]),
            std=tuple(found["std"]),
        )

    def load(self, **parameters: Any) -> Any:
        """Return the network with its weights, as the pipeline takes it."""
        from benchmark_core.torch_models import seeded_globals
        from plugins.models._zoo_network import ZooNetwork, with_weights

        weights = parameters["weights"]
        known = describe(self.library, self.name)
        if not parameters["class_token"] and not known["prefix_tokens"]:
            raise InputError(f"{self.identifier} has no class token to leave out; drop class_token=false")
        code, tag = import_module(f"plugins.models._zoo_{self.library}"), self._tag(weights)
        if weights == UNTRAINED:
            with seeded_globals(parameters["seed"]):
                network = code.build(self.name, tag)
        else:
            found = self.weights(**parameters)
            assert isinstance(found, Path)
            network = with_weights(
                self.identifier,
                found,
                partial(code.build_with, self.name, tag),
                partial(code.build, self.name, tag),
            )
        return ZooNetwork(
            network,
            pool=parameters["pool"],
            class_token=parameters["class_token"],
            prefix_tokens=known["prefix_tokens"],
            channels_last=known["channels_last"],
        )
