"""A stand-in for pulumi-docker 5.1.0 over the docker SDK.

It behaves as the official plug-in (a bridge over terraform-provider-docker 4.5.0, and one native resource, Image) in
what a program can notice: what replaces and what does not, what is applied and what is only recorded, which outputs
there are, what a refresh sees, how failures are worded. `properties.py` is the whole list of what is known.
"""
