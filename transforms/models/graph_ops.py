"""What the graph of a SavedModel can do, read from its protocol buffer before anything of it runs.

A SavedModel is a program. Its operations are compared with a list of those that only compute: what is not on it, known
or not, is a reason to ask the user.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# operations without access to files, network, devices or other programs; by the module of TensorFlow that has them
_COMPUTE = """
Bitcast BroadcastArgs BroadcastGradientArgs BroadcastTo CheckNumerics CheckNumericsV2 Concat ConcatOffset ConcatV2
Const DeepCopy Diag DiagPart EditDistance Empty EnsureShape ExpandDims Fill Fingerprint Gather GatherNd GatherV2
GuaranteeConst Identity IdentityN InvertPermutation ListDiff LowerBound MatrixBandPart MatrixDiag MatrixDiagPart
MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MirrorPad
OneHot OnesLike Pack Pad PadV2 ParallelConcat Placeholder PlaceholderV2 PlaceholderWithDefault PreventGradient Rank
Reshape Reverse ReverseSequence ReverseV2 ScatterNd Shape ShapeN Size Slice Snapshot Split SplitV Squeeze StopGradient
StridedSlice TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate
TensorStridedSliceUpdate Tile Transpose Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack UnravelIndex
UpperBound Where ZerosLike

Abs AccumulateNV2 Acos Acosh Add AddN AddV2 All Any ApproximateEqual ArgMax ArgMin Asin Asinh Atan Atan2 Atanh
BatchMatMul BatchMatMulV2 BatchMatMulV3 Bincount Bucketize Cast Ceil ClipByValue Cos Cosh Cross Cumprod Cumsum
CumulativeLogsumexp DenseBincount Digamma Div DivNoNan Equal Erf Erfc Erfinv EuclideanNorm Exp Expm1 Floor FloorDiv
FloorMod Greater GreaterEqual Inv IsFinite IsInf IsNan Less LessEqual Lgamma LinSpace Log Log1p LogicalAnd LogicalNot
LogicalOr MatMul Max Maximum Mean Min Minimum Mod Mul MulNoNan Neg NextAfter NotEqual Pow Prod RaggedBincount Range
RealDiv Reciprocal Rint Round Rsqrt SegmentMax SegmentMaxV2 SegmentMean SegmentMin SegmentMinV2 SegmentProd
SegmentProdV2 SegmentSum SegmentSumV2 Select SelectV2 Sigmoid Sign Sin Sinh SparseBincount SparseMatMul
SparseSegmentMean SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments
SparseSegmentSum SparseSegmentSumWithNumSegments Sqrt Square SquaredDifference Sub Sum Tan Tanh TruncateDiv
TruncateMod UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum Xdivy Xlog1py Xlogy

AvgPool BiasAdd BiasAddV1 Conv Conv2D DepthwiseConv2dNative Elu FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
InTopK InTopKV2 L2Loss LRN LeakyRelu LogSoftmax MaxPool MaxPoolV2 NthElement Relu Relu6 Selu Softmax Softplus Softsign
TopK TopKV2

AsString DecodeBase64 EncodeBase64 ReduceJoin RegexFullMatch RegexReplace StaticRegexFullMatch StaticRegexReplace
StringFormat StringJoin StringLength StringLower StringNGrams StringSplit StringSplitV2 StringStrip StringToHashBucket
StringToHashBucketFast StringToHashBucketStrong StringToNumber StringUpper Substr UnicodeDecode
UnicodeDecodeWithOffsets UnicodeEncode UnicodeScript UnicodeTranscode UnsortedSegmentJoin DecodeRaw DecodePaddedRaw

SparseAdd SparseConcat SparseCross SparseCrossHashed SparseCrossV2 SparseDenseCwiseAdd SparseDenseCwiseDiv
SparseDenseCwiseMul SparseFillEmptyRows SparseReduceMax SparseReduceMaxSparse SparseReduceSum SparseReduceSumSparse
SparseReorder SparseReshape SparseSlice SparseSoftmax SparseSparseMaximum SparseSparseMinimum SparseSplit
SparseTensorDenseAdd SparseTensorDenseMatMul SparseToDense RaggedCross RaggedFillEmptyRows RaggedGather RaggedRange
RaggedTensorFromVariant RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant DenseToDenseSetOperation
DenseToSparseSetOperation SetSize SparseToSparseSetOperation DynamicPartition DynamicStitch ParallelDynamicStitch Roll

Einsum MatrixInverse MatrixSolve Qr Svd BitwiseAnd BitwiseOr BitwiseXor Invert LeftShift PopulationCount RightShift

AnonymousHashTable AnonymousMutableDenseHashTable AnonymousMutableHashTable HashTable HashTableV2 InitializeTable
InitializeTableV2 LookupTableExport LookupTableExportV2 LookupTableFind LookupTableFindV2 LookupTableImport
LookupTableImportV2 LookupTableInsertV2 LookupTableRemoveV2 LookupTableSize LookupTableSizeV2 MutableDenseHashTableV2
MutableHashTable MutableHashTableV2

Case FakeParam For If PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile ToBool While
Abort Assert ControlTrigger Enter Exit LoopCond Merge NextIteration NoOp Switch DestroyResourceOp

Assign AssignAddVariableOp AssignSubVariableOp AssignVariableOp DisableCopyOnRead IsVariableInitialized ReadVariableOp
ResourceGather ResourceGatherNd VarHandleOp VarIsInitializedOp Variable VariableShape VariableV2

EmptyTensorList TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem
TensorListLength TensorListPopBack TensorListPushBack TensorListReserve TensorListResize TensorListScatterV2
TensorListSetItem TensorListSplit TensorListStack TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3
TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3
"""
COMPUTE = frozenset(_COMPUTE.split())
# they read a text file: allowed where it is one of the model's own
TEXT_FILE_INITIALIZERS = ("InitializeTableFromTextFile", "InitializeTableFromTextFileV2")
# they call a function with their inputs as its arguments
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
# the op that fills a TensorFlow 1 model's variables reads the checkpoint
RESTORE = frozenset({"RestoreV2"})


def find_suspects(saved_model: Any) -> list[str]:
    """Return what loading or calling a model may run that does more than compute: names of operations, sorted.

    Looks at every node of every function that the loader can call. What only writes a checkpoint is not among them: it
    runs when somebody saves the model. A file name of an asset that leaves the model's folder is named too.

    Args:
      saved_model: a `saved_model_pb2.SavedModel`.
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
            if node.op in TEXT_FILE_INITIALIZERS:
                if len(node.input) < 2 or _origin(node.input[1], nodes) not in assets:
                    yield node.op
            elif node.op not in COMPUTE and node.op not in functions:
                yield node.op
            called = {
                (other, _passed_assets(node, functions[other], nodes, assets)) for other in _called(node, functions)
            }
            todo += called - seen
            seen |= called


def _called(node: Any, functions: Mapping[str, Any]) -> Iterator[str]:
    """Yield the functions that a node may call."""
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
    """Return the arguments of a function that a node calls with assets of the function that it stands in.

    A model that was loaded and saved again, as a part of another, gets its assets this way.
    """
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
            if node.op in TEXT_FILE_INITIALIZERS:
                if len(node.input) < 2 or _origin(node.input[1], nodes) not in assets:
                    yield node.op
            elif node.op not in allowed and node.op not in functions:
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
