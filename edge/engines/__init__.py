"""TensorRT engines: built on the board that runs them, from the graphs of a bundle.

Everything about TensorRT here was written from NVIDIA's documents and headers and tested against a stand-in with the
same names: it has not been run on hardware. Needs the system's `tensorrt`, which comes with JetPack and not from pip;
without it, nothing here is used.
"""
