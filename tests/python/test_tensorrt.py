"""`edge-export --format tensorrt`: TensorRT accepts its quantization, and TensorRT-RTX builds an engine of it.

Building works without a GPU. ONNX Runtime computes the same nodes as the engine. It accepts more nodes than TensorRT does,
so ONNX Runtime alone is no check.
"""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import edge
import whole
from conftest import skip_loudly
from test_bundle import sst2_dev
from test_whole_onnx import check_form, rows_of

TARGET = ("--format", "tensorrt", "--calibrate")
METHODS = ["min-max", "percentile:99.99", "mse", "kl"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Writes a table of sentences for calibration."""
    file = tmp_path_factory.mktemp("texts") / "texts.tsv"
    lines = [line.replace("\t", " ") for line in edge.lines(edge.SENTENCES) if line.strip()]
    file.write_text("\n".join(["sentence", *lines]) + "\n", encoding="utf-8")
    return file


@pytest.fixture(params=[*edge.FIXTURE_NAMES, "sst2-minilm"])
def checkpoint(request):
    if request.param == "sst2-minilm":
        return request.getfixturevalue("shipped")
    return edge.FIXTURES / request.param


def test_quantization_is_explicit_and_symmetric(wholes, checkpoint, texts):
    model = wholes(checkpoint, *TARGET, texts)
    graph = check_form(model.path, checkpoint).graph
    assert model.facts["precision"] == "int8-qdq"
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    kinds = [node.op_type for node in graph.node]
    products = [n for n in graph.node if n.op_type == "MatMul" and n.input[1] in made_by
                and made_by[n.input[1]].op_type == "DequantizeLinear"]
    assert len(products) == kinds.count("QuantizeLinear") and kinds.count("DequantizeLinear") == 2 * len(products)
    assert len(products) % 4 == 0 and products
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale, zero = constants[node.input[1]], constants[node.input[2]]
            assert zero.dtype == np.int8 and not zero.any() and scale.dtype == np.float32 and (scale > 0).all()
            assert zero.shape == scale.shape
    for product in products:
        x, weight = (made_by[i] for i in product.input)
        assert x.op_type == "DequantizeLinear" and made_by[x.input[0]].op_type == "QuantizeLinear"
        assert constants[x.input[1]].shape == () and x.input[1:] == made_by[x.input[0]].input[1:]
        values, scale = constants[weight.input[0]], constants[weight.input[1]]
        assert values.dtype == np.int8 and scale.shape == values.shape[1:]
        assert onnx.helper.get_node_attr_value(weight, "axis") == 1


@pytest.mark.parametrize("method", METHODS)
def test_it_is_near_fp32(wholes, checkpoint, texts, method, record):
    """Checks that the mean change of logits is a share of their spread that fixed ranges explain."""
    exact, model = wholes(checkpoint, "--format", "onnx", "--fp32"), wholes(checkpoint, *TARGET, texts, "--method", method)
    rows = rows_of(model)
    exact, logits = exact.run_one_by_one(rows), model.run_one_by_one(rows)
    mean = np.abs(logits - exact).mean(axis=(1, 2)) / exact.std(axis=(1, 2))
    whole.other_labels(exact, logits)
    record(f"{checkpoint.name} for TensorRT, {method}, by exit: mean difference to fp32 {' '.join(f'{m:.1%}' for m in mean)} of their deviation")
    assert mean.max() <= 0.15


def test_the_largest_activation_fixes_the_scale(wholes, checkpoint, texts):
    """Compares min-max with the activations of ONNX Runtime in the fp32 file for the same sentences."""
    model = wholes(checkpoint, *TARGET, texts, "--method", "min-max")
    plain = onnx.load(wholes(checkpoint, "--format", "onnx", "--fp32").path)
    inputs = {}
    for node in plain.graph.node:
        if node.op_type == "MatMul" and node.input[1].startswith("layers.") and node.input[1].endswith(".weight"):
            inputs[node.input[1].removesuffix(".weight")] = node.input[0]
    plain.graph.output.extend(onnx.helper.make_empty_tensor_value_info(v) for v in sorted(set(inputs.values())))
    session = edge.session(plain.SerializeToString())
    largest = dict.fromkeys(inputs, 0.0)
    rows = model.tokenize([t for t in edge.lines(edge.SENTENCES) if t.strip()])
    for row in rows:
        ids, mask = edge.pad([row])
        seen = session.run(list(inputs.values()), {"input_ids": ids, "attention_mask": mask})
        for name, x in zip(inputs, seen):
            largest[name] = max(largest[name], np.abs(x).max())
    weights = model.weights()
    assert largest
    for name, size in largest.items():
        assert np.isclose(weights[f"{name}.input.scale"] * 127, size, rtol=1e-4), name


def test_sst2_dev_accuracy(wholes, shipped, shared, record):
    """Checks that int8, calibrated on training texts, costs at most half a point at full depth."""
    texts, labels = sst2_dev(shared)
    models = {"fp32": wholes(shipped, "--format", "onnx", "--fp32")}
    train = shared / "data" / "sst2" / "train.tsv"
    models |= {method: wholes(shipped, *TARGET, train, "--method", method) for method in METHODS}
    full = {}
    for name, model in models.items():
        logits = model.run_one_by_one(model.tokenize(texts))
        by_exit = 100 * (logits.argmax(-1) == labels).mean(axis=1)
        full[name] = by_exit[-1]
        record(f"SST-2 dev accuracy by exit, for TensorRT, {name}: {' '.join(f'{x:.2f}' for x in by_exit)}")
    assert min(full.values()) >= full["fp32"] - 0.5, full


@pytest.fixture(scope="module")
def tensorrt():
    try:
        import tensorrt_rtx_bindings
    except ImportError as error:
        skip_loudly(f"NOT RUN: TensorRT-RTX takes the export: {error} (tests/python/requirements-tensorrt.txt)")
    return tensorrt_rtx_bindings


class Refused(Exception):
    pass


def build(tensorrt, path, tokens):
    """Builds the engine of a file, for 1 to 32 texts. Returns it with the names of its outputs."""

    class Logger(tensorrt.ILogger):
        def __init__(self):
            tensorrt.ILogger.__init__(self)
            self.said = []

        def log(self, severity, message):
            if severity <= tensorrt.ILogger.ERROR:
                self.said.append(message)

    logger = Logger()
    builder = tensorrt.Builder(logger)
    network = builder.create_network()
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        raise Refused([str(parser.get_error(i)) for i in range(parser.num_errors)])
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    for name in ("input_ids", "attention_mask"):
        profile.set_shape(name, (1, 1), (8, min(64, tokens)), (32, tokens))
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise Refused(logger.said)
    return engine, [network.get_output(i).name for i in range(network.num_outputs)]


def test_tensorrt_builds_an_engine(tensorrt, wholes, checkpoint, texts, record):
    model = wholes(checkpoint, *TARGET, texts)
    engine, outputs = build(tensorrt, model.path, model.facts["max_tokens"])
    assert outputs == model.outputs
    record(f"{checkpoint.name}: TensorRT-RTX {tensorrt.__version__} builds an engine of {engine.nbytes / 1e6:.1f} MB")
    # The engine contains the encoder's weights as bytes, and the embeddings as floats.
    assert engine.nbytes >= 0.9 * model.path.stat().st_size


@pytest.mark.parametrize("precision", ["--fp32", "--fp16"])
def test_tensorrt_takes_the_floats_too(tensorrt, wholes, precision):
    model = wholes(edge.FIXTURES / "bert-exits", "--format", "onnx", precision)
    assert build(tensorrt, model.path, 32)[1] == model.outputs


def test_tensorrt_refuses_what_is_not_for_it(tensorrt, wholes):
    """Checks that TensorRT refuses dynamic quantization, which ONNX Runtime runs: the test above can fail."""
    model = wholes(edge.FIXTURES / "bert-exits", "--format", "onnx", "--int8")
    with pytest.raises(Refused):
        build(tensorrt, model.path, 32)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--format", "tensorrt"), "needs --calibrate FILE: texts like those"),
        (("--format", "tensorrt", "--fp32"), "--format tensorrt is int8"),
        (("--format", "tensorrt", "--embedding-bits", "4"), "TensorRT gets 32-bit embeddings"),
        (("--calibrate", "texts.tsv"), "--calibrate is for --format tensorrt"),
        ((*TARGET, "missing.tsv"), "missing.tsv: No such file"),
        ((*TARGET, "texts.tsv", "--method", "max"), "percentile:P"),
    ],
)
def test_what_is_missing_is_said(tmp_path, options, said):
    with pytest.raises(AssertionError, match=said):
        edge.export(edge.FIXTURES / "bert-exits", tmp_path / "model.onnx", *options)
    assert not list(tmp_path.iterdir())


def test_the_command_is_printed(tmp_path, texts):
    arguments = [*TARGET, texts, edge.FIXTURES / "bert-exits", "-o", tmp_path / "model.onnx"]
    said = edge.run("edge-export", *arguments)
    command = next(line for line in said.splitlines() if line.startswith("trtexec "))
    assert f"--onnx={tmp_path}/model.onnx " in command and "--stronglyTyped" in command
    for shapes in ("minShapes=input_ids:1x1,", "optShapes=input_ids:8x", "maxShapes=input_ids:32x"):
        assert shapes in command
