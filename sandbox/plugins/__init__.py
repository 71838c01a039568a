"""Stand-ins for the official `docker` and `aws` provider plug-ins, used only where those cannot be installed.

They speak the engine's own protocol, so the program, the SDKs and the engine are the real ones. Each covers what the
program uses and refuses the rest by name. Nothing outside `sandbox` may know that they exist.
"""
