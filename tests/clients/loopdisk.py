"""An ext4 file system in a file, whose power can be cut."""

import errno
import fcntl
import os
import struct
import subprocess
import time

from skip import Skip, needs

EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
NO_LOG_FLUSH = 2  # neither data nor journal reaches the disk any more: what was not flushed is gone


class LoopDisk:
    """Mounted on an empty directory, its file beside it; a context manager that takes away all it made, and nothing else."""

    def __init__(self, mount, mebibytes, block=None):
        needs("mkfs.ext4", "losetup", "mount", "umount")
        if os.geteuid() != 0:
            raise Skip("mounting an ext4 file system needs root")
        self.mount = mount
        self.block = [] if block is None else ["-b", str(block)]  # a file system this small has blocks of 1 KiB
        self.device = None
        self.is_mounted = False
        self.image = mount + ".img"
        with open(self.image, "xb") as image:
            image.truncate(mebibytes << 20)

    def __enter__(self):
        try:
            made = subprocess.run(["losetup", "--find", "--show", self.image], capture_output=True, text=True)
            if made.returncode != 0:
                raise Skip(f"no loop device: {made.stderr.strip()}")
            self.device = made.stdout.strip()
            try:
                self.make_anew()
            except AssertionError as refused:
                raise Skip(str(refused)) from refused  # not even new: no ext4, or not allowed here
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            if self.is_mounted:
                self.unmount()
        finally:
            if self.device:
                subprocess.run(["losetup", "--detach", self.device], check=True)
            os.remove(self.image)

    def make_anew(self):
        """An empty file system, mounted."""
        if self.is_mounted:
            self.unmount()
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", *self.block, "-E", "nodiscard", self.device], check=True)
        self.mount_again()

    def mount_again(self):
        """Mounts what is on the device; the journal is replayed."""
        done = subprocess.run(["mount", "-t", "ext4", self.device, self.mount], capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"cannot mount ext4 from {self.device}: {done.stderr.strip()}")
        self.is_mounted = True

    def unmount(self):
        # A process that was just killed may hold its last file for some milliseconds more.
        deadline = time.monotonic() + 10
        while (done := subprocess.run(["umount", self.mount], capture_output=True, text=True)).returncode != 0:
            if time.monotonic() > deadline:
                raise AssertionError(done.stderr)
            time.sleep(0.01)
        self.is_mounted = False

    def cut_power(self):
        """From here on nothing reaches the disk; to be followed by unmount and mount_again."""
        directory = os.open(self.mount, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(directory, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        except OSError as e:
            if e.errno in (errno.ENOTTY, errno.EOPNOTSUPP):
                raise Skip("this kernel's ext4 has no shutdown ioctl") from e
            raise
        finally:
            os.close(directory)
