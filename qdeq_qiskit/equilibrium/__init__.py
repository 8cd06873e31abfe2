"""Fixed points of any batched map: solvers, adjoints, Jacobian penalties, and the torch module that joins them.

Nothing here knows of circuits: a map is anything that evaluates f(w) for a batch, and its Jacobian.
"""

from ._backward_report import BackwardReport, GradientNotConvergedError, NotConvergedWarning
from ._layer_map import bind_layer
from ._lift import nearest_lift
from ._looks import tell_put_off_warnings
from ._map import Bindable, FixedPointMap, FunctionMap, MapCost, MeasuredJacobian, PlannedCall
from ._module import Equilibrium, NotConvergedError
from ._module_checks import check_pair, serves
from ._reason import SUCCESSES, Reason
from ._root import Root
from ._solution import Solution, spectral_radius
from ._solve import solve
from ._warm_start import WarmStart
from .adjoints import ADJOINTS, Adjoint, FoundRoot, make_adjoint
from .adjoints.implicit import ImplicitAdjoint
from .adjoints.jfb import JFB
from .adjoints.phantom import PhantomGradient
from .adjoints.shine import Shine
from .adjoints.unrolled import Unrolled
from .penalties import PENALTIES, JacobianPenalty, make_penalty
from .penalties.full import FullJacobianPenalty
from .penalties.hutchinson import HutchinsonPenalty
from .penalties.parameter_shift import ParameterShiftPenalty
from .penalties.reduced import ReducedJacobianPenalty
from .solvers import SOLVERS, Evaluation, Solver, make_solver
from .solvers.anderson import Anderson
from .solvers.broyden import Broyden
from .solvers.chord_newton import ChordNewton
from .solvers.krasnoselskii_mann import KrasnoselskiiMann
from .solvers.newton import Newton
from .solvers.picard import Picard
from .solvers.sampled import SampledSolver

__all__ = [
    "ADJOINTS",
    "JFB",
    "PENALTIES",
    "SOLVERS",
    "SUCCESSES",
    "Adjoint",
    "Anderson",
    "BackwardReport",
    "Bindable",
    "Broyden",
    "ChordNewton",
    "Equilibrium",
    "Evaluation",
    "FixedPointMap",
    "FoundRoot",
    "FullJacobianPenalty",
    "FunctionMap",
    "GradientNotConvergedError",
    "HutchinsonPenalty",
    "ImplicitAdjoint",
    "JacobianPenalty",
    "KrasnoselskiiMann",
    "MapCost",
    "MeasuredJacobian",
    "Newton",
    "NotConvergedError",
    "NotConvergedWarning",
    "ParameterShiftPenalty",
    "PhantomGradient",
    "Picard",
    "PlannedCall",
    "Reason",
    "ReducedJacobianPenalty",
    "Root",
    "SampledSolver",
    "Shine",
    "Solution",
    "Solver",
    "Unrolled",
    "WarmStart",
    "bind_layer",
    "check_pair",
    "make_adjoint",
    "make_penalty",
    "make_solver",
    "nearest_lift",
    "serves",
    "solve",
    "spectral_radius",
    "tell_put_off_warnings",
]
