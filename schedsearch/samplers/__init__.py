"""Samplers by name: the one place that maps names to the settings from which they are made."""

from typing import TYPE_CHECKING

from schedsearch.core.registry import Registry

if TYPE_CHECKING:
    from schedsearch.samplers.settings import SamplerSettings

SAMPLERS: "Registry[type[SamplerSettings]]" = Registry(
    "sampler",
    {
        "g-search": "schedsearch.samplers.settings:GSearchSettings",
        "bayes": "schedsearch.samplers.family_settings:BayesSettings",
        "optuna": "schedsearch.samplers.family_settings:OptunaSettings",
        "random": "schedsearch.samplers.family_settings:RandomSettings",
        "random-monotone": "schedsearch.samplers.family_settings:RandomMonotoneSettings",
        "frontier": "schedsearch.samplers.family_settings:FrontierSettings",
        "additive": "schedsearch.samplers.additive_settings:AdditiveSettings",
        "auto": "schedsearch.samplers.auto_settings:AutoSettings",
    },
)
register_sampler = SAMPLERS.register
