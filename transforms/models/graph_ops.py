"""What the graph of a SavedModel can do, read from its protocol buffer before anything of it runs.

A SavedModel is a program. Its operations are compared with a list of those that only compute: what is not on it, known
or not, is a reason to ask the user.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

# operations without access to files, network, devices or other programs; by the module of TensorFlow that has them
COMPUTE = frozenset(Path(__file__).with_suffix(".txt").read_text(encoding="ascii").split())
# they read a text file: allowed where it is one of the model's own
TEXT_FILE_INITIALIZERS = ("InitializeTableFromTextFile", "InitializeTableFromTextFileV2")
CALLS = ("PartitionedCall", "StatefulPartitionedCall")  # they call a function with their inputs as its arguments
RESTORE = frozenset({"RestoreV2"})  # the op that fills a TensorFlow 1 model's variables reads the checkpoint


def find_suspects(saved_model: Any) -> list[str]:
    """Return what loading or calling a model may run that does more than compute: names of operations, sorted.

    Looks at every node of every function that the loader can call. What only writes a checkpoint is not among them: it
    runs when somebody saves the model. A file name of an asset that leaves the model's folder is named too.
    """
    found: set[str] = set()
    metas = saved_model.meta_graphs
    for meta in metas:
        found.update(f"asset {asset.filename!r}" for asset in assets_of(meta) if _leaves(asset.filename))
        # as tf.saved_model.load decides between the formats of TensorFlow 2 and 1
        if len(metas) == 1 and meta.HasField("object_graph_def"):
            found.update(_suspects_of_functions(meta, meta.object_graph_def.concrete_functions))
        else:
            found.update(_suspects_of_graph(meta))
    return sorted(found)


def untrusted(label: str, suspects: Sequence[str]) -> str:
    """Return the message that refuses a model."""
    shown = ", ".join(suspects[:10]) + (" ..." if len(suspects) > 10 else "")
    return (
        f"the model {label} may touch files or the network ({shown}); if you know who made it and what it does, "
        "give --trust-model"
    )


def assets_of(meta: Any) -> list[Any]:
    """Return the `AssetFileDef`s of a graph; TensorFlow 1 kept them in a collection."""
    assets = list(meta.asset_file_def)
    if "saved_model_assets" in meta.collection_def:
        for packed in meta.collection_def["saved_model_assets"].any_list.value:
            assets.append(type(meta)().asset_file_def.add())
            packed.Unpack(assets[-1])
    return assets


def _leaves(name: str) -> bool:
    return name.startswith("/") or "\\" in name or ".." in name.split("/")


def _suspects_of_functions(meta: Any, roots: Iterable[str]) -> Iterator[str]:
    """Yield the suspects of the functions that `roots` can call, themselves included."""
    functions = {function.signature.name: function for function in meta.graph_def.library.function}
    todo = [(name, _bound_assets(meta, functions[name])) for name in roots if name in functions]
    seen = set(todo)
    while todo:
        name, assets = todo.pop()
        function = functions[name]
        nodes = {inner.name: inner for inner in function.node_def}
        for node in function.node_def:
            if not _may_run(node, nodes, assets, COMPUTE, functions):
                yield node.op
            called = {
                (other, _passed_assets(node, functions[other], nodes, assets)) for other in _called(node, functions)
            }
            todo += called - seen
            seen |= called


def _may_run(
    node: Any, nodes: Mapping[str, Any], assets: Set[str], allowed: Set[str], functions: Container[str]
) -> bool:
    if node.op in TEXT_FILE_INITIALIZERS:
        return len(node.input) > 1 and _origin(node.input[1], nodes) in assets
    return node.op in allowed or node.op in functions


def _called(node: Any, functions: Mapping[str, Any]) -> Iterator[str]:
    if node.op in functions:
        yield node.op
    for attribute in node.attr.values():
        for function in (attribute.func, *attribute.list.func):
            if function.name in functions:
                yield function.name


def _bound_assets(meta: Any, function: Any) -> frozenset[str]:
    """Return the arguments of a function that the loader binds to the model's assets: their file names."""
    objects = meta.object_graph_def
    bound = objects.concrete_functions[function.signature.name].bound_inputs  # none for an unknown name
    arguments = [argument.name for argument in function.signature.input_arg]
    last = arguments[len(arguments) - len(bound) :]
    return frozenset(
        name for name, node in zip(last, bound, strict=False) if objects.nodes[node].WhichOneof("kind") == "asset"
    )


def _passed_assets(node: Any, called: Any, nodes: Mapping[str, Any], assets: frozenset[str]) -> frozenset[str]:
    """Return the arguments of a function that a node calls with assets: so does a model that is a part of another."""
    if node.op not in CALLS and node.op != called.signature.name:
        return frozenset()
    arguments = [argument.name for argument in called.signature.input_arg]
    return frozenset(
        name for name, given in zip(arguments, node.input, strict=False) if _origin(given, nodes) in assets
    )


def _origin(name: str, nodes: Mapping[str, Any]) -> str:
    """Return the name of the node or argument that a value comes from unchanged."""
    name = name.split(":")[0]
    while name in nodes and nodes[name].op == "Identity":
        name = nodes[name].input[0].split(":")[0]
    return name


def _suspects_of_graph(meta: Any) -> Iterator[str]:
    """Yield the suspects of a TensorFlow 1 graph: of its signatures, its initializer, and of what restores it."""
    nodes = {node.name: node for node in meta.graph_def.node}
    assets = {asset.tensor_info.name.split(":")[0] for asset in assets_of(meta)}
    roots = {tensor.name for signature in meta.signature_def.values() for tensor in signature.outputs.values()}
    for name in ("saved_model_main_op", "legacy_init_op", "main_op"):
        roots.update(meta.collection_def[name].node_list.value if name in meta.collection_def else ())
    for start, allowed in ((roots, COMPUTE), ({meta.saver_def.restore_op_name}, COMPUTE | RESTORE)):
        called: set[str] = set()
        for node in _reached(nodes, start):
            functions = set(_called(node, {f.signature.name: f for f in meta.graph_def.library.function}))
            called |= functions
            if not _may_run(node, nodes, assets, allowed, functions):
                yield node.op
        yield from _suspects_of_functions(meta, called)


def _reached(nodes: Mapping[str, Any], roots: Iterable[str]) -> Iterator[Any]:
    """Yield the nodes that the values named by `roots` depend on."""
    todo, seen = list(roots), set()
    while todo:
        name = todo.pop().lstrip("^").split(":")[0]
        if name in nodes and name not in seen:
            seen.add(name)
            yield nodes[name]
            todo += nodes[name].input
