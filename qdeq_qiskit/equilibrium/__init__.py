"""Fixed points of any batched map: solvers, adjoints, Jacobian penalties, and the torch module that joins them.

Nothing here knows of circuits: a map is anything that evaluates f(w) for a batch, and its Jacobian.
"""

from ._layer_map import bind_layer
from ._lift import nearest_lift
from ._map import Bindable, FixedPointMap, FunctionMap, MapCost, MeasuredJacobian, PlannedCall
from ._module import Equilibrium, NotConvergedError, NotConvergedWarning
from ._reason import SUCCESSES, Reason
from ._root import Root
from ._solution import Solution, spectral_radius
from ._solve import solve
from .adjoints import ADJOINTS, Adjoint, make_adjoint
from .adjoints.implicit import ImplicitAdjoint
from .adjoints.jfb import JFB
from .adjoints.unrolled import Unrolled
from .penalties import PENALTIES, JacobianPenalty, make_penalty
from .penalties.full import FullJacobianPenalty
from .penalties.reduced import ReducedJacobianPenalty
from .solvers import SOLVERS, Evaluation, Solver, make_solver
from .solvers.anderson import Anderson
from .solvers.broyden import Broyden
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
    "Bindable",
    "Broyden",
    "Equilibrium",
    "Evaluation",
    "FixedPointMap",
    "FullJacobianPenalty",
    "FunctionMap",
    "ImplicitAdjoint",
    "JacobianPenalty",
    "KrasnoselskiiMann",
    "MapCost",
    "MeasuredJacobian",
    "Newton",
    "NotConvergedError",
    "NotConvergedWarning",
    "Picard",
    "PlannedCall",
    "Reason",
    "ReducedJacobianPenalty",
    "Root",
    "SampledSolver",
    "Solution",
    "Solver",
    "Unrolled",
    "bind_layer",
    "make_adjoint",
    "make_penalty",
    "make_solver",
    "nearest_lift",
    "solve",
    "spectral_radius",
]
