"""A private Haraka on 127.0.0.1, a process for each processor, that does with its mail what a plugin says."""

import os
import re
import shutil
import subprocess

import mtas
import rounds
from processes import Tree

HERE = os.path.dirname(os.path.abspath(__file__))


class Haraka(Tree):
    name = "haraka"

    def __init__(self, folder, plugin):
        """plugin: the text of the only one that runs."""
        program = shutil.which("haraka")
        if program is None:
            raise SystemExit("haraka is not installed: run bench/peers/install.sh and do what it says, or leave haraka out "
                             "of --peers")
        subprocess.run([program, "-i", folder], check=True, stdout=subprocess.DEVNULL)
        self.port = mtas.free_port()
        for name, text in {
            "smtp.ini": f"listen=127.0.0.1:{self.port}\nnodes=cpus\n",
            "plugins": "only\n",
            "outbound.ini": "concurrency_max=100\nenable_tls=false\nlocal_mx_ok=true\n",
            "log.ini": "[main]\nlevel=error\n",
            "host_list": "nothing.here\n",
            "me": "haraka.test\n",
        }.items():
            with open(os.path.join(folder, "config", name), "w", encoding="ascii") as f:
                f.write(text)
        # Lines above 992 octets it would break in two; RFC 5322 section 2.1.1 allows 998.
        connection = os.path.join(folder, "config/connection.ini")
        with open(connection, encoding="utf-8") as f:
            settings = f.read()
        with open(connection, "w", encoding="utf-8") as f:
            f.write(re.sub(r"(?m)^data_line_length=.*$", "data_line_length=2000", settings))
        os.makedirs(os.path.join(folder, "plugins"), exist_ok=True)
        with open(os.path.join(folder, "plugins/only.js"), "w", encoding="ascii") as f:
            f.write(plugin)
        # Node's threads for files are four: more flushes at a time make groups on the disk. The names of its files are
        # flushed too, so that all who are compared promise the same.
        durable_rename = os.path.join(folder, "durable_rename.so")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", durable_rename, os.path.join(HERE, "durable_rename.c")],
                       check=True)
        environment = {**os.environ, "UV_THREADPOOL_SIZE": "64", "LD_PRELOAD": durable_rename}
        self.log_path = os.path.join(folder, "haraka.log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen([program, "-c", folder], stdout=log, stderr=log, env=environment)
        self.pid = self.process.pid
        with rounds.or_stop(self):
            mtas.wait_for_greeting(self.port, self.process, self.log)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()[-2000:]

    def stop(self):
        rounds.end(self.process)
