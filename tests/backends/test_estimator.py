"""HeisenbergEstimator and HeisenbergGradient against Qiskit's own estimator, gradient and statevectors."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import UnitaryGate, real_amplitudes, zz_feature_map
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient
from qiskit_machine_learning.neural_networks import EstimatorQNN

from qdeq_qiskit.backends.estimator import HeisenbergEstimator, HeisenbergGradient
from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.maps.product import _trace_matrix, pauli_coefficients
from qdeq_qiskit.backends.readout import Readout
from qdeq_qiskit.circuits import (
    QNNCircuit,
    amplitude_angles,
    amplitude_encoder,
    angle_encoder,
    qdeq_ansatz,
    ryzxy_gates,
    z_readout,
)

ENGINES = ("torch", "aer")


def angle_model() -> QNNCircuit:
    return QNNCircuit.compose(angle_encoder(4, ryzxy_gates(4)), qdeq_ansatz(4), z_readout(4))


def amplitude_model() -> QNNCircuit:
    return QNNCircuit.compose(amplitude_encoder(4, 11), qdeq_ansatz(4), z_readout(4), num_amplitudes=11)


def expression_model() -> QNNCircuit:
    """Inputs in expressions of products, entangling feature map, weights shared by gates: does not factor."""
    observables = [SparsePauliOp(["XYI", "ZZZ"], [0.5, -1.2]), SparsePauliOp("IIZ")]
    return QNNCircuit.compose(zz_feature_map(3, reps=1), real_amplitudes(3, reps=1), observables)


def reuploading_model() -> QNNCircuit:
    x, theta = ParameterVector("x", 2), ParameterVector("t", 5)
    circuit = QuantumCircuit(2)
    for layer in range(2):
        circuit.rx(x[0], 0)
        circuit.ry(2 * x[1], 1)
        circuit.ry(theta[2 * layer], 0)
        circuit.rz(theta[2 * layer + 1], 1)
        circuit.crx(theta[4], 0, 1)
    return QNNCircuit(circuit, x, theta, [SparsePauliOp("ZI"), SparsePauliOp("XX")])


def shared_model() -> QNNCircuit:
    """Product state of expressions, then weights of which one drives several gates, another twice its value."""
    x, theta = ParameterVector("x", 2), ParameterVector("t", 3)
    circuit = QuantumCircuit(3)
    for wire in range(3):
        circuit.h(wire)
        circuit.rz(x[0] * x[1] + wire, wire)
        circuit.ry(x[wire % 2], wire)
    circuit.rzz(theta[0], 0, 1)
    circuit.crx(theta[0], 1, 2)
    circuit.cry(2 * theta[1], 2, 0)
    circuit.p(theta[2] * theta[0], 1)
    circuit.rx(theta[2], 1)
    return QNNCircuit(circuit, x, theta, [SparsePauliOp("ZIZ"), SparsePauliOp(["XXY", "IYI"], [1.0, 0.3])])


MODELS = (angle_model, amplitude_model, expression_model, reuploading_model, shared_model)


def qnn_of(model: QNNCircuit, estimator: object, gradient: object | None) -> EstimatorQNN:
    return EstimatorQNN(
        circuit=model.circuit,
        input_params=model.input_parameters,
        weight_params=model.weight_parameters,
        observables=list(model.observables),
        estimator=estimator,
        gradient=gradient,
        input_gradients=True,
        default_precision=0.0,
    )


def heisenberg_qnn(model: QNNCircuit, engine: str = "torch") -> EstimatorQNN:
    estimator = HeisenbergEstimator(engine=engine)
    return qnn_of(model, estimator, HeisenbergGradient(estimator))


def stock_qnn(model: QNNCircuit) -> EstimatorQNN:
    estimator = StatevectorEstimator()
    return qnn_of(model, estimator, ParamShiftEstimatorGradient(estimator))


def random_arguments(model: QNNCircuit, batch: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(batch, model.num_inputs)), generator.uniform(-np.pi, np.pi, model.num_weights)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("make", MODELS)
def test_a_stock_qnn_gets_the_numbers_of_qiskits_own_estimator_and_gradient(
    make: Callable[[], QNNCircuit], engine: str
) -> None:
    model = make()
    ours = heisenberg_qnn(model, engine)
    values, jacobians = stock_results(make)
    inputs, weights = random_arguments(model, 2)
    assert np.abs(ours.forward(inputs, weights) - values).max() < 1e-12
    for found, expected in zip(ours.backward(inputs, weights), jacobians, strict=True):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-10


@cache
def stock_results(make: Callable[[], QNNCircuit]) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Slow, so once for all engines."""
    model = make()
    arguments = random_arguments(model, 2)
    stock = stock_qnn(model)
    return stock.forward(*arguments), stock.backward(*arguments)


@pytest.mark.parametrize("make", MODELS)
def test_batches_of_one_agree_with_larger_ones(make: Callable[[], QNNCircuit]) -> None:
    model = make()
    inputs, weights = random_arguments(model, 4)
    whole = heisenberg_qnn(model)
    values, jacobians = whole.forward(inputs, weights), whole.backward(inputs, weights)
    single = heisenberg_qnn(model)
    for row in range(4):
        assert np.abs(single.forward(inputs[row], weights) - values[row]).max() < 1e-12
        for found, expected in zip(single.backward(inputs[row : row + 1], weights), jacobians, strict=True):
            assert np.abs(found[0] - expected[row]).max() < 1e-11


def test_the_amplitude_model_is_the_quadratic_form_of_its_features() -> None:
    model = amplitude_model()
    features = np.random.default_rng(2).normal(size=(5, 11))
    _, weights = random_arguments(model, 1)
    found = heisenberg_qnn(model).forward(amplitude_angles(features, 4), weights)
    bound = model.circuit.assign_parameters(dict(zip(model.weight_parameters, weights, strict=True)))
    for row in range(5):
        bound_row = bound.assign_parameters(
            dict(zip(model.input_parameters, amplitude_angles(features, 4)[row], strict=True))
        )
        state = Statevector(bound_row)
        expected = [state.expectation_value(observable).real for observable in model.observables]
        assert np.abs(found[row] - expected).max() < 1e-12


@pytest.mark.parametrize(
    ("observables", "bindings"),
    [((), ()), ((), (5,)), ((3, 1), (5,)), ((4,), ()), ((2, 3), (3,)), ((5,), (5,)), ((2, 1, 1), (3, 2)), ((1,), (1,))],
)
def test_every_broadcasting_of_the_v2_interface_gives_what_qiskit_gives(
    observables: tuple[int, ...], bindings: tuple[int, ...]
) -> None:
    model = shared_model()
    generator = np.random.default_rng(1)
    labels = generator.choice(["XYZ", "ZII", "IZI", "YYX", "III", "XIZ"], size=observables)
    array = np.vectorize(lambda label: SparsePauliOp([str(label), "ZZZ"], [1.0, 0.5]), otypes=[object])(labels)
    weights = generator.normal(size=3)
    values = np.concatenate((np.broadcast_to(weights, (*bindings, 3)), generator.normal(size=(*bindings, 2))), axis=-1)
    pub = (model.circuit, array.tolist() if observables else array[()], values)
    (ours,), (stock,) = (estimator.run([pub]).result() for estimator in (HeisenbergEstimator(), StatevectorEstimator()))
    assert ours.data.evs.shape == ours.data.stds.shape == stock.data.evs.shape
    assert np.abs(ours.data.evs - stock.data.evs).max() < 1e-12


def test_pubs_of_several_circuits_bindings_by_name_and_no_parameters_at_all_come_back_in_order() -> None:
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    turned = QuantumCircuit(2)
    turned.ry(Parameter("a"), 0)
    turned.crz(Parameter("b"), 0, 1)
    pubs = [
        (bell, ["XX", "ZI"]),
        (turned, {"ZI": 0.5, "IZ": 1.0}, {"b": 0.3, "a": [0.1, 0.2]}),
        (bell, SparsePauliOp("ZZ")),
        (turned, "XI", [0.4, 0.5]),
    ]
    pubs[1] = (turned, {"ZI": 0.5, "IZ": 1.0}, {"b": [0.3, 0.4], "a": [0.1, 0.2]})
    ours, stock = (estimator.run(pubs).result() for estimator in (HeisenbergEstimator(), StatevectorEstimator()))
    for found, expected in zip(ours, stock, strict=True):
        assert found.data.evs.shape == expected.data.evs.shape
        assert np.abs(found.data.evs - expected.data.evs).max() < 1e-12


def test_projectors_in_an_observables_label_are_evaluated() -> None:
    circuit = QuantumCircuit(2)
    circuit.ry(0.7, 0)
    (result,) = HeisenbergEstimator().run([(circuit, {"I1": 2.0})]).result()
    assert result.data.evs == pytest.approx(2 * np.sin(0.35) ** 2, abs=1e-14)


def test_results_say_that_they_are_exact_whatever_precision_was_asked_for() -> None:
    model = angle_model()
    inputs, weights = random_arguments(model, 2)
    rows = np.concatenate((np.broadcast_to(weights, (2, 39)), inputs), axis=1)
    order = [*model.weight_parameters, *model.input_parameters]
    rows = rows[:, [order.index(parameter) for parameter in model.circuit.parameters]]
    job = HeisenbergEstimator().run([(model.circuit, model.observables[0], rows)], precision=0.1)
    (result,) = job.result()
    assert job.done()
    assert job.in_final_state()
    assert not job.running()
    assert not job.cancel()
    assert result.metadata["exact"] is True
    assert result.metadata["target_precision"] == 0.1
    assert result.metadata["engine"] == "torch"
    assert "product-state" in result.metadata["evaluation"]
    assert np.array_equal(result.data.stds, np.zeros(2))


def test_columns_that_happen_to_be_constant_do_not_change_how_a_circuit_is_read() -> None:
    model = amplitude_model()
    qnn = heisenberg_qnn(model)
    _, weights = random_arguments(model, 1)
    features = np.random.default_rng(3).normal(size=(4, 11))
    features[:, 8:] = 0  # the second half is a dead branch: the tree's first angle is 0 in every row
    angles = amplitude_angles(features, 4)
    assert np.ptp(angles, axis=0).min() == 0
    assert np.abs(qnn.forward(angles, weights) - stock_qnn(model).forward(angles, weights)).max() < 1e-12
    rows = np.concatenate((angles, np.broadcast_to(weights, (4, 39))), axis=1)
    assert "amplitude encoder" in qnn.estimator.evaluator(qnn._circuit, rows).explanation


def test_a_circuit_given_directly_learns_its_inputs_from_the_rows_that_vary() -> None:
    model = angle_model()
    estimator = HeisenbergEstimator()
    inputs, weights = random_arguments(model, 3)
    values = dict(zip([*model.input_parameters, *model.weight_parameters], [*inputs.T, *weights], strict=True))

    def rows(count: int) -> np.ndarray:
        columns = [
            np.broadcast_to(np.asarray(values[parameter])[..., :count], count)
            if np.ndim(values[parameter])
            else np.full(count, values[parameter])
            for parameter in model.circuit.parameters
        ]
        return np.stack(columns, axis=1)

    def explained(count: int) -> str:
        (result,) = estimator.run([(model.circuit, "ZIII", rows(count))]).result()
        return result.metadata["evaluation"]

    assert "no parameter varies" in explained(1)
    assert "product-state" in explained(3)
    assert "product-state" in explained(1)


def test_inputs_with_constant_columns_are_recognised_by_the_vector_that_they_belong_to() -> None:
    model = amplitude_model()
    generator = np.random.default_rng(3)
    features = generator.normal(size=(4, 11))
    features[:, 8:] = 0
    names = [*model.input_parameters, *model.weight_parameters]
    columns = [*amplitude_angles(features, 4).T, *np.broadcast_to(generator.normal(size=39)[:, None], (39, 4))]
    rows = np.stack([columns[names.index(parameter)] for parameter in model.circuit.parameters], axis=1)
    (result,) = HeisenbergEstimator().run([(model.circuit, "IIIZ", rows)]).result()
    assert "amplitude encoder" in result.metadata["evaluation"]
    (expected,) = StatevectorEstimator().run([(model.circuit, "IIIZ", rows)]).result()
    assert np.abs(result.data.evs - expected.data.evs).max() < 1e-12


def test_many_observables_each_with_a_few_of_the_rows_are_evaluated_one_by_one() -> None:
    circuit = QuantumCircuit(3)
    for wire, parameter in enumerate(ParameterVector("a", 3)):
        circuit.ry(parameter, wire)
    rows = np.random.default_rng(0).normal(size=(20, 3))
    labels = ["".join(letters) for letters in itertools.islice(itertools.product("XZI", repeat=3), 20)]
    pubs = [(circuit, labels, rows), (circuit, labels[::-1], rows), (circuit, labels[5:] + labels[:5], rows)]
    ours, stock = (estimator.run(pubs).result() for estimator in (HeisenbergEstimator(), StatevectorEstimator()))
    for found, expected in zip(ours, stock, strict=True):
        assert np.abs(found.data.evs - expected.data.evs).max() < 1e-12


def test_a_kept_jacobian_of_some_parameters_is_not_given_out_for_others() -> None:
    model = angle_model()
    qnn = heisenberg_qnn(model)
    inputs, weights = random_arguments(model, 2)
    rows = np.hstack((inputs, np.tile(weights, (2, 1))))
    arguments = [qnn._circuit] * 2, [model.observables[0]] * 2, rows
    parameters = list(qnn._circuit.parameters)
    parts = [qnn.gradient.run(*arguments, [some] * 2).result() for some in (parameters[:16], parameters[16:])]
    whole = heisenberg_qnn(model).gradient.run(*arguments).result()
    found = np.concatenate([part.gradients for part in parts], axis=1)
    assert np.array_equal(found, whole.gradients)


def test_a_sweep_over_weights_is_evaluated_as_well() -> None:
    model = angle_model()
    generator = np.random.default_rng(4)
    rows = generator.normal(size=(6, 55))
    estimators = HeisenbergEstimator(), StatevectorEstimator()
    ours, stock = (e.run([(model.circuit, ["ZIII", "IXYI"], rows[:, None])]).result()[0] for e in estimators)
    assert np.abs(ours.data.evs - stock.data.evs).max() < 1e-12


def test_a_circuit_that_was_changed_in_place_is_analysed_anew() -> None:
    circuit = QuantumCircuit(1)
    circuit.ry(Parameter("a"), 0)
    estimator = HeisenbergEstimator()
    values = np.array([[0.3], [0.4]])
    before = estimator.run([(circuit, "Z", values)]).result()[0].data.evs
    circuit.x(0)
    after = estimator.run([(circuit, "Z", values)]).result()[0].data.evs
    assert np.allclose(before, np.cos(values[:, 0]), rtol=0, atol=1e-12)
    assert np.allclose(after, -before, rtol=0, atol=1e-12)


def test_operators_are_built_once_for_forward_and_backward_at_the_same_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from qdeq_qiskit.backends.engines import TorchEngine

    calls = {"evaluate": 0, "derivatives": 0}
    for name in calls:
        real = getattr(TorchEngine, name)

        def counted(self: object, *args: object, real: Callable = real, name: str = name) -> object:
            calls[name] += 1
            return real(self, *args)

        monkeypatch.setattr(TorchEngine, name, counted)
    model = angle_model()
    qnn = heisenberg_qnn(model)
    weights = random_arguments(model, 1)[1]
    for seed in range(3):
        inputs = random_arguments(model, 6, seed)[0]
        qnn.forward(inputs, weights)
        qnn.backward(inputs, weights)
    assert calls["derivatives"] == 1
    assert calls["evaluate"] <= 2  # once for the values, once within the derivatives
    qnn.forward(inputs, weights + 0.1)
    assert calls["evaluate"] <= 3


def test_a_jacobian_asked_for_again_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    real = HeisenbergEstimator.jacobian
    monkeypatch.setattr(HeisenbergEstimator, "jacobian", lambda self, *args: computed.append(1) or real(self, *args))
    model = angle_model()
    connector = TorchConnector(heisenberg_qnn(model), initial_weights=random_arguments(model, 1)[1])
    v = torch.randn(5, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    out = connector(v)
    for k in range(4):
        torch.autograd.grad(out[:, k].sum(), v, retain_graph=True)
    assert len(computed) == 1
    torch.autograd.grad(connector(v + 0.1).sum(), v)
    assert len(computed) == 2


def test_a_returned_gradient_may_be_written_to_and_is_returned_unchanged_again() -> None:
    a = ParameterVector("a", 2)
    circuit = QuantumCircuit(1)
    circuit.rx(a[0], 0)
    circuit.ry(a[1], 0)
    gradient = HeisenbergGradient(HeisenbergEstimator())
    for parameters in ([a[0]], list(a), None):
        results = [
            gradient.run([circuit], [SparsePauliOp("Z")], [[0.3, 0.2]], parameters=[parameters]).result().gradients
            for _ in range(2)
        ]
        before = np.array(results[1][0])
        results[0][0][0] = 7.0
        again = gradient.run([circuit], [SparsePauliOp("Z")], [[0.3, 0.2]], parameters=[parameters]).result()
        assert np.array_equal(again.gradients[0], before)
        assert np.array_equal(results[1][0], before)


def test_gradients_of_chosen_parameters_of_several_circuits_come_back_in_order() -> None:
    first, second = shared_model(), reuploading_model()
    generator = np.random.default_rng(7)
    circuits = [first.circuit, second.circuit, first.circuit, first.circuit]
    observables = [SparsePauliOp("ZIZ"), SparsePauliOp("XX"), SparsePauliOp("XXY"), SparsePauliOp("ZIZ")]
    values = [list(generator.normal(size=circuit.num_parameters)) for circuit in circuits]
    chosen = [None, second.weight_parameters[1:3], [first.weight_parameters[2], first.input_parameters[0]], None]
    estimator = HeisenbergEstimator()
    ours = HeisenbergGradient(estimator).run(circuits, observables, values, chosen).result()
    stock = ParamShiftEstimatorGradient(StatevectorEstimator()).run(circuits, observables, values, chosen).result()
    for found, expected in zip(ours.gradients, stock.gradients, strict=True):
        assert np.abs(found - expected).max() < 1e-10
    for found, expected in zip(ours.metadata, stock.metadata, strict=True):
        assert list(found["parameters"]) == list(expected["parameters"])


def test_a_single_circuit_need_not_be_in_a_list() -> None:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("a"), 0)
    result = HeisenbergGradient(HeisenbergEstimator()).run(circuit, SparsePauliOp("Z"), [[0.3]], precision=0.1).result()
    assert result.gradients[0] == pytest.approx([-np.sin(0.3)], abs=1e-14)


def test_a_qnn_with_the_estimator_alone_works_with_qiskits_default_gradient() -> None:
    model = shared_model()
    inputs, weights = random_arguments(model, 2)
    ours, stock = qnn_of(model, HeisenbergEstimator(), None), stock_qnn(model)
    for found, expected in zip(ours.backward(inputs, weights), stock.backward(inputs, weights), strict=True):
        assert np.abs(found - expected).max() < 1e-10


def test_single_precision_gives_seven_digits() -> None:
    model = angle_model()
    inputs, weights = random_arguments(model, 3)
    estimator = HeisenbergEstimator(precision="single")
    found = qnn_of(model, estimator, HeisenbergGradient(estimator)).backward(inputs, weights)
    for single, double in zip(found, heisenberg_qnn(model).backward(inputs, weights), strict=True):
        assert 1e-12 < np.abs(single - double).max() < 1e-5


def test_a_row_that_is_not_finite_spoils_no_other_row() -> None:
    model = angle_model()
    qnn = heisenberg_qnn(model)
    inputs, weights = random_arguments(model, 4)
    clean = qnn.forward(inputs, weights)
    inputs[1, 3] = np.nan
    found = qnn.forward(inputs, weights)
    assert np.isnan(found[1]).any()
    assert np.abs(found[[0, 2, 3]] - clean[[0, 2, 3]]).max() < 1e-12


def test_weights_that_are_not_finite_give_nan_without_a_change_of_route(caplog: pytest.LogCaptureFixture) -> None:
    model = angle_model()
    inputs, weights = random_arguments(model, 4)
    with caplog.at_level(logging.WARNING):
        assert np.isnan(heisenberg_qnn(model).forward(inputs, weights * np.nan)).all()
    assert not caplog.records


def test_a_circuit_that_does_not_factor_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    model = reuploading_model()
    qnn = heisenberg_qnn(model)
    with caplog.at_level(logging.WARNING):
        for seed in range(3):
            qnn.forward(*random_arguments(model, 4, seed))
    assert len([record for record in caplog.records if "re-uploading" in record.message]) == 1


def test_a_circuit_that_aer_does_not_evaluate_although_asked_to_says_so() -> None:
    model = reuploading_model()
    rows = np.random.default_rng(0).normal(size=(3, model.circuit.num_parameters))
    (result,) = HeisenbergEstimator(engine="aer").run([(model.circuit, "ZI", rows)]).result()
    assert result.metadata["engine"] == "torch"
    assert "not by Aer" in result.metadata["evaluation"]


def test_a_gpu_that_is_not_there_is_an_error() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU, so asking for one is no error here")
    with pytest.raises(ValueError, match="torch sees no GPU"):
        HeisenbergEstimator(device="cuda")


def test_bad_arguments_are_refused_in_one_clear_sentence() -> None:
    circuit = QuantumCircuit(2)
    circuit.ry(Parameter("a"), 0)
    measured, two = circuit.copy(), circuit.copy()
    measured.measure_all()
    two.ry(Parameter("b"), 1)
    estimator = HeisenbergEstimator()
    gradient = HeisenbergGradient(estimator)
    z = SparsePauliOp("ZI")
    with pytest.raises(ValueError, match="measure"):
        estimator.run([(measured, z, [0.1])])
    with pytest.raises(ValueError, match="Hermitian"):
        estimator.run([(circuit, SparsePauliOp("ZI", 1j), np.array([[0.1]]))])
    with pytest.raises(ValueError, match="number of qubits"):
        estimator.run([(circuit, SparsePauliOp("Z"), np.array([[0.1]]))])
    with pytest.raises(ValueError, match="inconsistent"):
        estimator.run([(two, z, np.array([[0.1, 0.2, 0.3]]))])
    with pytest.raises(ValueError, match="there are 2 circuits, but 1 observables"):
        gradient.run([circuit] * 2, [z], [[0.1], [0.2]])
    with pytest.raises(ValueError, match="has 1 parameters, but rows of parameter_values have \\[2\\]"):
        gradient.run([circuit], [z], [[0.1, 0.2]])
    with pytest.raises(ValueError, match="acts on 1 qubits"):
        gradient.run([circuit], [SparsePauliOp("Z")], [[0.1]])
    with pytest.raises(ValueError, match=r"parameters \['b'\] do not occur"):
        gradient.run([circuit], [z], [[0.1]], [[Parameter("b")]])
    with pytest.raises(ValueError, match="has no parameters"):
        gradient.run([QuantumCircuit(2)], [z], [[]])
    with pytest.raises(TypeError, match=r"\['shots'\]"):
        gradient.run([circuit], [z], [[0.1]], shots=10)
    with pytest.raises(TypeError, match="StatevectorEstimator"):
        HeisenbergGradient(StatevectorEstimator())
    with pytest.raises(ValueError, match="engine = 'are'"):
        HeisenbergEstimator(engine="are")
    with pytest.raises(ValueError, match="precision = 'half'"):
        HeisenbergEstimator(precision="half")


NAMES = (
    "rx",
    "ry",
    "rz",
    "p",
    "rxx",
    "ryy",
    "rzz",
    "rzx",
    "crx",
    "cry",
    "crz",
    "cp",
    "h",
    "t",
    "cx",
    "cz",
    "swap",
    "sx",
)


@st.composite
def random_models(draw: st.DrawFn) -> QNNCircuit:
    """Circuits of all kinds of gates; inputs sit in a first layer, or (every third time) anywhere."""
    num_qubits = draw(st.integers(1, 3))
    names = [name for name in NAMES if num_qubits > 1 or name in ("rx", "ry", "rz", "p", "h", "t", "sx")]
    x, theta = ParameterVector("x", 3), ParameterVector("t", 3)
    circuit = QuantumCircuit(num_qubits)
    for index in range(3):
        circuit.u(0.3, index, 0.2, index % num_qubits)
        getattr(circuit, draw(st.sampled_from(["rx", "ry", "rz"])))(x[index], draw(st.integers(0, num_qubits - 1)))
    anywhere = draw(st.integers(0, 2)) == 0
    for index, name in enumerate(draw(st.lists(st.sampled_from(names), min_size=3, max_size=8))):
        wires = draw(st.permutations(range(num_qubits)))[: 1 if name in ("rx", "ry", "rz", "p", "h", "t", "sx") else 2]
        if name in ("h", "t", "cx", "cz", "swap", "sx"):
            getattr(circuit, name)(*wires)
            continue
        angle = theta[index % 3] if draw(st.booleans()) else 0.5 * theta[index % 3] + 0.1
        if anywhere and draw(st.booleans()):
            angle = angle * x[index % 3]
        getattr(circuit, name)(angle, *wires)
    for index in range(3):
        circuit.ry(theta[index], draw(st.integers(0, num_qubits - 1)))
    label = "".join(draw(st.lists(st.sampled_from("IXYZ"), min_size=num_qubits, max_size=num_qubits)))
    return QNNCircuit(
        circuit, x, theta, [SparsePauliOp("Z" * num_qubits), SparsePauliOp([label, "Z" * num_qubits], [1, 0.5])]
    )


@settings(max_examples=25, deadline=None)
@given(model=random_models(), seed=st.integers(0, 2**16))
def test_random_circuits_agree_with_statevectors_with_aer_and_with_finite_differences(
    model: QNNCircuit, seed: int
) -> None:
    inputs, weights = random_arguments(model, 2, seed)
    parameters = [*model.input_parameters, *model.weight_parameters]

    def exactly(row: int, shift: np.ndarray) -> np.ndarray:
        values = np.concatenate((inputs[row], weights)) + shift
        state = Statevector(model.circuit.assign_parameters(dict(zip(parameters, values, strict=True))))
        return np.array([state.expectation_value(observable).real for observable in model.observables])

    step = 1e-5
    qnns = [heisenberg_qnn(model, engine) for engine in ENGINES]
    (values, (of_inputs, of_weights)), (aer_values, aer_jacobians) = (
        (qnn.forward(inputs, weights), qnn.backward(inputs, weights)) for qnn in qnns
    )
    assert np.abs(values - aer_values).max() < 1e-10
    assert np.abs(of_inputs - aer_jacobians[0]).max() < 1e-10
    assert np.abs(of_weights - aer_jacobians[1]).max() < 1e-10
    for row in range(2):
        assert np.abs(values[row] - exactly(row, np.zeros(6))).max() < 1e-10
        jacobian = np.concatenate((of_inputs[row], of_weights[row]), axis=1)
        for index, shift in enumerate(step * np.eye(6)):
            central = (exactly(row, shift) - exactly(row, -shift)) / (2 * step)
            assert np.abs(jacobian[:, index] - central).max() < 1e-8
    assert np.abs(values - aer_estimates(model, inputs, weights)).max() < 1e-10


def aer_estimates(model: QNNCircuit, inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Aer's own EstimatorV2, with numbers bound beforehand: it gets parameters of controlled rotations wrong."""
    from qiskit_aer.primitives import EstimatorV2

    parameters = [*model.input_parameters, *model.weight_parameters]
    pubs = [
        (model.circuit.assign_parameters(dict(zip(parameters, [*row, *weights], strict=True))), list(model.observables))
        for row in inputs
    ]
    results = EstimatorV2(options={"default_precision": 0.0}).run(pubs).result()
    return np.stack([result.data.evs for result in results])


def with_matrix(matrix: np.ndarray, a: ParameterVector, *, wrapped: bool) -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    circuit.ry(a[0], 0)
    inner = QuantumCircuit(1, name="inner")
    inner.append(UnitaryGate(matrix), [0])
    if wrapped:
        circuit.append(inner.to_gate(), [0])
    else:
        circuit.compose(inner, inplace=True)
    circuit.rx(a[1], 0)
    return circuit


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_matrix_that_changes_a_little_is_another_circuit(wrapped: bool) -> None:
    a, observable, values = ParameterVector("a", 2), SparsePauliOp("Z"), np.array([[0.7, 0.2], [0.3, 0.2]])
    estimator = HeisenbergEstimator()
    results = []
    for angle in (0.4, 0.4 + 3e-6):
        half = angle / 2
        matrix = np.array([[np.cos(half), -np.sin(half)], [np.sin(half), np.cos(half)]])
        circuit = with_matrix(matrix, a, wrapped=wrapped)
        found = estimator.run([(circuit, observable, values)]).result()[0].data.evs
        right = [Statevector(circuit.assign_parameters(row)).expectation_value(observable).real for row in values]
        assert np.abs(found - right).max() < 1e-12
        results.append(found)
    assert np.abs(results[1] - results[0]).max() > 1e-7


def test_equal_matrices_are_the_same_circuit() -> None:
    estimator, a = HeisenbergEstimator(), ParameterVector("a", 2)
    circuits = [with_matrix(np.eye(2), a, wrapped=wrapped) for wrapped in (False, False, True, True)]
    evaluators = [estimator.evaluator(circuit, np.array([[0.1, 0.2], [0.3, 0.2]])) for circuit in circuits]
    assert evaluators[0] is evaluators[1]
    assert evaluators[2] is evaluators[3]


@pytest.mark.parametrize("make", [angle_model, expression_model])
def test_a_pub_without_rows_has_an_empty_result(make: Callable[[], QNNCircuit]) -> None:
    model = make()
    num_parameters = model.num_inputs + model.num_weights
    circuit, (observable, *_) = model.circuit, model.observables
    estimator = HeisenbergEstimator()
    pubs = [
        (circuit, observable, np.zeros((0, num_parameters))),
        (circuit, [[observable], [observable]], np.zeros((0, num_parameters))),
        (circuit, observable, np.ones((3, num_parameters))),
    ]
    for some in (pubs, pubs[:1]):
        ours, stock = (each.run(some).result() for each in (estimator, StatevectorEstimator()))
        for found, expected in zip(ours, stock, strict=True):
            assert found.data.evs.shape == expected.data.evs.shape == found.data.stds.shape
            assert np.allclose(found.data.evs, expected.data.evs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", [angle_model, amplitude_model, reuploading_model])
def test_what_was_evaluated_in_inference_mode_serves_outside_of_it(make: Callable[[], QNNCircuit]) -> None:
    model = make()
    inputs, weights = random_arguments(model, 3)
    qnn, expected = heisenberg_qnn(model), heisenberg_qnn(model).backward(inputs, weights)
    _trace_matrix.cache_clear()
    with torch.inference_mode():
        qnn.forward(inputs, weights)
        within = qnn.backward(inputs, weights)
    other = weights + 0.1
    qnn.forward(inputs, other)
    qnn.backward(inputs, other)
    layer = ExactLayer(model, precision="double")
    layer.bind(torch.ones(1, model.num_features).double(), torch.zeros(model.num_features, 0).double())
    (gradient,) = torch.autograd.grad(layer(torch.ones(1, model.num_features).double()).sum(), layer.weight)
    assert gradient.isfinite().all()
    for found, right in zip(within, expected, strict=True):
        assert np.allclose(found, right, rtol=0, atol=1e-12)


def test_a_layer_first_evaluated_in_inference_mode_is_trained_afterwards() -> None:
    layer = ExactLayer(angle_model(), precision="double")
    features = torch.ones(1, 16, dtype=torch.float64)
    _trace_matrix.cache_clear()
    with torch.inference_mode():
        before = layer(features)
    after = layer(features)
    assert torch.allclose(before, after, rtol=0, atol=1e-12)
    assert torch.autograd.grad(after.sum(), layer.weight)[0].abs().max() > 1e-3


def test_operators_are_differentiated_after_others_were_built_in_inference_mode() -> None:
    readout = Readout([SparsePauliOp("ZI"), SparsePauliOp("IZ")])
    columns = torch.eye(4, dtype=torch.complex64)
    _trace_matrix.cache_clear()
    with torch.inference_mode():
        pauli_coefficients(readout.hermitian_operators(columns))
    columns.requires_grad_()
    coefficients = pauli_coefficients(readout.hermitian_operators(columns))
    (gradient,) = torch.autograd.grad(coefficients.square().sum(), columns)
    assert gradient.abs().max() > 1e-3
