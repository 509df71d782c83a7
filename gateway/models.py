"""The model registry as the gateway needs it: which names there are, which one is the default, what to tell of each."""

from collections.abc import Mapping
from dataclasses import dataclass

from core_config import ModelConfig, Settings, api_key_of, load_registry, resolve_active_model
from taskstore.records import TaskRecord


@dataclass(frozen=True, slots=True)
class Models:
    registry: Mapping[str, ModelConfig]
    active: str
    """The model of a task that names none."""
    has_key: Mapping[str, bool | None]
    """None for a model that needs no key."""

    def simulated(self, task: TaskRecord) -> bool:
        """Whether its answer is made up; before there is one, whether it would be."""
        model = self.registry.get(task.model)
        return task.simulated or (task.answered_by is None and model is not None and model.simulated)


def models_of(settings: Settings) -> Models:
    """Read once, at start. Raises ConfigurationError."""
    registry = load_registry(settings)
    has_key = {
        name: None if model.api_key_env is None else api_key_of(model) is not None for name, model in registry.items()
    }
    return Models(registry, resolve_active_model(settings), has_key)
