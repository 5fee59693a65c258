"""Gaussian processes over curves of schedules, and the points they promise most of (BoTorch)."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from botorch.exceptions.errors import ModelFittingError
from botorch.exceptions.warnings import BotorchWarning
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms import Standardize
from gpytorch.constraints import GreaterThan, Interval
from gpytorch.kernels import MaternKernel
from gpytorch.likelihoods import FixedNoiseGaussianLikelihood
from gpytorch.mlls import ExactMarginalLogLikelihood
from gpytorch.priors import LogNormalPrior
from linear_operator.utils.warnings import NumericalWarning
from torch import Tensor
from torch.quasirandom import SobolEngine

from schedsearch.core.schedule import Schedule
from schedsearch.core.space import Space
from schedsearch.samplers.known import Point, enumerated

_LEAST_NOISE = 1e-4
_LENGTHSCALE, _LEAST_LENGTHSCALE = 0.6, 0.01
_SHARES, _SHARE, _SHARE_SPREAD = (1e-6, 4.0), 1e-4, 2.5
_FIT_STEPS = 100
_POOL = 256
_AROUND, _SPREADS = 32, (0.1, 0.025)
_TOP = 4


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Run what follows from a seed and on one thread; torch is left as it was.

    Jitter on a covariance and climbs cut short are no news: they change what is asked, not what
    is true of the answer.
    """
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericalWarning)
        warnings.simplefilter("ignore", BotorchWarning)
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def sobol(space: Space, seed: int, skipped: int, points: int) -> list[Point]:
    """Return so many points of a scrambled Sobol sequence, without the first ones."""
    drawn = _sobol(len(space.parameters), skipped + points, seed)[skipped:]
    return [point_at(space, shares) for shares in drawn.tolist()]


def point_at(space: Space, shares: Iterable[float]) -> Point:
    """Return the point whose parameters lie at these shares of their ranges."""
    return {
        each.name: each.at(min(1.0, max(0.0, one)))
        for each, one in zip(space.parameters, shares, strict=True)
    }


def shares_of(space: Space, point: Mapping[str, float]) -> list[float]:
    """Return where between their bounds the parameters of a point lie."""
    return [each.share(point[each.name]) for each in space.parameters]


def in_cube(space: Space, points: Iterable[Mapping[str, float]]) -> Tensor:
    """Return where the points lie between the bounds of the space: double, shape (points, d)."""
    rows = [shares_of(space, point) for point in points]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), len(space.parameters))


def curves(schedules: Iterable[Schedule], first: int) -> Tensor:
    """Return what schedules keep in the layers from `first` on: double, shape (schedules, layers).

    Divided by the root of the number of layers, so that the distance of two rows is the root mean
    square of what the schedules differ in, whatever the depth.
    """
    rows = [schedule.keep[first:] for schedule in schedules]
    found = torch.tensor(rows, dtype=torch.float64)
    return found / math.sqrt(found.shape[-1])


class SharedNoise(FixedNoiseGaussianLikelihood):  # type: ignore[misc]
    """Noise of which the variances are known but for one factor, `noise_share`, that is fitted.

    Measurements on the same samples err alike. What is left of their standard errors where one is
    compared with another is not known beforehand: by the prior nearly nothing, unless the values
    clearly show noise.
    """

    def __init__(self, variances: Tensor) -> None:
        super().__init__(variances)
        share = torch.nn.Parameter(torch.tensor([_SHARE], dtype=torch.float64))
        self.register_parameter("noise_share", share)
        bounds = Interval(*_SHARES, transform=None, initial_value=_SHARE)
        self.register_constraint("noise_share", bounds)
        prior = LogNormalPrior(math.log(_SHARE), _SHARE_SPREAD)
        self.register_prior(
            "noise_share_prior", prior, lambda own: own.noise_share, SharedNoise._set
        )

    def _set(self, share: Tensor) -> None:
        """Take a share from the prior, where a fit has to begin anew."""
        self.initialize(noise_share=share.clamp(*_SHARES))

    def _shaped_noise_covar(self, base_shape: torch.Size, *params: Any, **kwargs: Any) -> Any:
        known = super()._shaped_noise_covar(base_shape, *params, **kwargs)
        return (known * self.noise_share).add_jitter(_LEAST_NOISE)


def fitted(inputs: Tensor, values: Sequence[float], errors: Sequence[float]) -> SingleTaskGP:
    """Return the process that fits measurements best.

    Matern 5/2 of the distance, with one lengthscale: what schedules differ in counts the same in
    every layer. A share of the standard errors is noise, see `SharedNoise`.

    Args:
        inputs: As `curves` returns them, shape (n, d).
        values: What was measured there; n of them.
        errors: Their standard errors, on the same samples; 0 where unknown.
    """
    targets = torch.tensor(values, dtype=torch.float64)[:, None]
    scale = Standardize(1)
    scale(targets)
    variances = (torch.tensor(errors, dtype=torch.float64) / scale.stdvs.squeeze()) ** 2
    model = SingleTaskGP(
        inputs,
        targets,
        likelihood=SharedNoise(variances),
        covar_module=MaternKernel(
            nu=2.5,
            lengthscale_prior=LogNormalPrior(math.log(_LENGTHSCALE), 1.0),
            lengthscale_constraint=GreaterThan(
                _LEAST_LENGTHSCALE, transform=None, initial_value=_LENGTHSCALE
            ),
        ),
        outcome_transform=Standardize(1),
    )
    steps = {"options": {"maxiter": _FIT_STEPS}}
    likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
    with suppress(ModelFittingError):  # then the prior alone must do
        fit_gpytorch_mll(likelihood, optimizer_kwargs=steps)
    likelihood.eval()
    return model


def values_of(criterion: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Return what each input is worth by itself, shape (n,)."""
    with torch.no_grad():
        return torch.cat([criterion(part[:, None]) for part in torch.split(inputs, _POOL)])


def most_promising(
    space: Space,
    promise: Callable[[Sequence[Point]], Tensor],
    best: Sequence[Point],
    seed: int,
) -> list[Point]:
    """Return points of the space, those that promise most first.

    Every point of a space of few whole numbers. Else: of a Sobol sequence, of clouds around the
    best points known, and of narrower clouds around the most promising of all these.

    Args:
        space: What is searched.
        promise: Of each point; -inf for one that cannot be asked.
        best: Points that are known to be good.
        seed: Of the Sobol sequence, which is best the same at every question, so that its
            schedules are solved once; what lies around the best is drawn from torch's own state.
    """
    points = enumerated(space)
    if points is not None:
        return _ordered(points, promise(points))
    found = sobol(space, seed, 0, _POOL)
    for spread in _SPREADS:
        found += _around(space, best, spread)
    values = promise(found)
    for spread in _SPREADS:
        new = _around(space, _ordered(found, values)[:_TOP], spread / 2)
        found += new
        values = torch.cat([values, promise(new)])
    return _ordered(found, values)


def _ordered(points: Sequence[Point], values: Tensor) -> list[Point]:
    """Return the points of the greatest values first, without those of -inf."""
    order = values.argsort(descending=True, stable=True).tolist()
    return [points[i] for i in order if values[i] > -math.inf]


def _around(space: Space, centres: Sequence[Point], spread: float) -> list[Point]:
    """Return random points near the centres."""
    if not centres:
        return []
    around = in_cube(space, [centres[i % len(centres)] for i in range(_AROUND)])
    drawn = around + spread * torch.randn_like(around)
    return [point_at(space, shares) for shares in drawn.tolist()]


def _sobol(dimension: int, points: int, seed: int) -> Tensor:
    """Return the first points of a scrambled sequence in the unit cube, shape (points, d)."""
    if not dimension:
        return torch.empty(points, 0, dtype=torch.float64)
    engine = SobolEngine(dimension, scramble=True, seed=seed)  # type: ignore[no-untyped-call]
    drawn: Tensor = engine.draw(points, dtype=torch.float64)
    return drawn
