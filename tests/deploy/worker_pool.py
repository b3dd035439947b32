"""Beam's pool of Python workers, on the loopback interface alone: Beam's own command listens on every one.

Usage: worker_pool.py [PROGRAM]. Prints its port. PROGRAM starts a worker; without one it is this very Python.
"""

import sys
import threading

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils import thread_pool_executor

server = grpc.server(thread_pool_executor.shared_unbounded_instance())
pool = BeamFnExternalWorkerPoolServicer(use_process=True, container_executable=(sys.argv[1:] or [None])[0])
beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
threading.Event().wait()
