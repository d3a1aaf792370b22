"""spark-submit takes a file, and our commands are modules: this file runs the module that is named after it.

spark-submit [options] deploy/spark_submit.py features build --engine spark --events … --out …
"""

import runpy
import sys

if __name__ == "__main__":
    del sys.argv[0]  # the module's name takes its place, as with python -m
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
