"""How batches travel between Beam's workers. A module whose transforms put out batches imports this."""

import apache_beam as beam
import pyarrow as pa


class ArrowBatchCoder(beam.coders.Coder):
    """Arrow IPC stream of one batch.

    A slice is written as its own rows only; pickling one would send the whole buffer that it was cut from.
    """

    def encode(self, value: pa.RecordBatch) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_batch(value)
        return sink.getvalue().to_pybytes()

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        return pa.ipc.open_stream(encoded).read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        # Beam asks for the size of elements as they pass; its own answer would be to encode each
        return value.nbytes

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> type:
        return pa.RecordBatch


beam.coders.registry.register_coder(pa.RecordBatch, ArrowBatchCoder)
