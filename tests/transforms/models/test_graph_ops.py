"""What a graph can do, read from its protocol buffer."""

import pytest

from molino.transforms.models.graph_ops import COMPUTE, find_suspects, untrusted


@pytest.fixture(scope="module")
def tf(hub):
    import tensorflow

    return tensorflow


def graph_of(folder):
    from tensorflow.core.protobuf import saved_model_pb2

    with open(f"{folder}/saved_model.pb", "rb") as file:
        return saved_model_pb2.SavedModel.FromString(file.read())


def test_exported_models_only_compute(small):
    for model in small.values():
        assert find_suspects(graph_of(model.folder)) == []


def test_operations_that_touch_files_are_not_computing(tf):
    harmful = {"ReadFile", "WriteFile", "MatchingFiles", "SaveV2", "RestoreV2", "PyFunc", "EagerPyFunc", "PrintV2"}
    harmful |= {"ImmutableConst", "RecordInput", "TFRecordReaderV2", "RemoteCall", "SymbolicGradient", "LoadDataset"}
    harmful |= {"InitializeTableFromTextFileV2", "MergeV2Checkpoints", "ShardedFilename", "TextLineDataset"}
    assert harmful & COMPUTE == set()
    assert {name for name in COMPUTE if name not in dir(tf.raw_ops)} == set()


def test_suspects_in_called_functions(save, tf):
    @tf.function
    def inner(titles):
        tf.io.matching_files("/*")
        return tf.ones([tf.size(titles), 2])

    def branch(titles):
        return tf.cond(tf.size(titles) > 1, lambda: inner(titles), lambda: tf.ones([tf.size(titles), 2]))

    assert find_suspects(graph_of(save(branch))) == ["MatchingFiles"]


def test_suspects_in_initializers(save, tf, tmp_path):
    (tmp_path / "secret").write_text("a\n")
    path = str(tmp_path / "secret")
    initializer = tf.lookup.TextFileInitializer(
        path, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    ids = tf.lookup.StaticHashTable(initializer, -1)
    folder = save(lambda titles: tf.cast(ids.lookup(titles), tf.float32)[:, None], ids=ids)
    saved = graph_of(folder)
    assert find_suspects(saved) == []  # saving made the file an asset of the model
    meta = saved.meta_graphs[0]
    function = next(f for f in meta.graph_def.library.function if "initializer" in f.signature.name)
    node = next(n for n in function.node_def if n.op == "InitializeTableFromTextFileV2")
    # a file name that stands in the graph
    constant = function.node_def.add(name="path", op="Const")
    node.input[1] = f"{constant.name}:output:0"
    assert find_suspects(saved) == ["InitializeTableFromTextFileV2"]


def test_an_asset_outside_of_the_model(small):
    saved = graph_of(small["dim5"].folder)
    saved.meta_graphs[0].asset_file_def[0].filename = "../../../etc/passwd"
    assert find_suspects(saved) == ["asset '../../../etc/passwd'"]


def test_a_graph_of_tensorflow_1(tf):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    meta = saved.meta_graphs.add()
    nodes = {"path": ("Const", []), "hidden": ("WriteFile", ["path"]), "unused": ("ReadFile", ["path"])}
    nodes |= {
        "y": ("Identity", ["path", "^hidden"]),
        "restore": ("RestoreV2", ["path"]),
        "odd": ("RestoreV2", ["path"]),
    }
    nodes["restored"] = ("NoOp", ["^restore"])
    for name, (op, inputs) in nodes.items():
        meta.graph_def.node.add(name=name, op=op, input=inputs)
    meta.saver_def.restore_op_name = "restored"
    meta.signature_def["default"].outputs["y"].name = "y:0"
    assert find_suspects(saved) == ["WriteFile"]
    meta.signature_def["default"].outputs["z"].name = "odd:0"
    assert find_suspects(saved) == ["RestoreV2", "WriteFile"]
    meta.signature_def.clear()
    assert find_suspects(saved) == []
    meta.collection_def["legacy_init_op"].node_list.value.append("unused")
    assert find_suspects(saved) == ["ReadFile"]


def test_the_message_is_short():
    said = untrusted("m", [f"Op{i}" for i in range(50)])
    assert "(Op0, Op1, Op2, Op3, Op4, Op5, Op6, Op7, Op8, Op9 ...)" in said
