"""CPU time and memory of a server that is several processes."""

import os


def children(pid):
    """The process and all below it; those that end meanwhile are left out."""
    found = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
                for child in f.read().split():
                    found += children(int(child))
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def cpu_of_tree(pid):
    """Seconds of the living tree and of the dead that it has waited for."""
    total = 0
    for process in children(pid):
        try:
            with open(f"/proc/{process}/stat", encoding="ascii") as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile: its parent has it
        total += sum(int(field) for field in fields[11:15])
    return total / os.sysconf("SC_CLK_TCK")


class Tree:
    """A server whose first process is self.pid."""

    def cpu(self):
        return cpu_of_tree(self.pid)


def memory_of_tree(pid):
    """Octets of memory that belong to the tree, shared pages divided among those who share them (PSS)."""
    total = 0
    for process in children(pid):
        try:
            with open(f"/proc/{process}/smaps_rollup", encoding="ascii") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total * 1024
