"""Serves the model that is named with llama.cpp's server on a free port of the loopback, prints the address, and ends
with its standard input: so it cannot outlive the test, however that ends."""

import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.hostnames = ["127.0.0.1"]
params.port = 0
params.n_ctx = int(sys.argv[2])
params.n_parallel = 1
params.n_predict = 24
params.sampling.seed = 7
params.n_gpu_layers = 0
params.cpuparams.n_threads = 1
params.use_jinja = True
params.warmup = False
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
