"""The walls of the strict level, built by a process around itself: namespaces, a root of its own, Landlock, no rights.

Linux system calls through ctypes, since a sandboxed interpreter has the standard library only. Every function raises
OSError with the name of what failed; nothing is skipped in silence.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct

from wmtp.judging.sandbox import landlock, libraries, root
from wmtp.judging.sandbox.landlock import check, syscall

_libc = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
_OPEN_TREE, _MOUNT_SETATTR, _PIVOT_ROOT = 428, 442, {"x86_64": 155, "aarch64": 41}

SIGNALS = 256
NAMESPACES = ("user", "pid", "mnt", "net", "ipc", "uts")
WORK = "/box/tmp"  # the only writable folder inside, where /tmp leads; each program has a file system of its own there
_BOX = "/box"
STDIN = "/box/tmp/stdin"  # where /dev/stdin leads: there is no /proc in which to find it
PACKAGES = "/packages"  # distributions that candidates may import, if any
_DEVICES = ("/dev/null", "/dev/urandom", "/dev/random")  # /dev/zero, mapped, would be memory that nobody sees


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind, data)]
    result = _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3])
    check(result, f"mount {target}")


def _set_mount(path: str, attributes: int, *, recursive: bool) -> None:
    request = struct.pack("=4Q", attributes, 0, 0, 0)
    flags = 0x8000 if recursive else 0
    buffer = ctypes.create_string_buffer(request, 32)
    result = syscall(_MOUNT_SETATTR, -100, ctypes.c_char_p(path.encode()), flags, buffer, ctypes.c_size_t(32))
    check(result, f"mount_setattr {path}")


def _new_root(found: libraries.Libraries, wanted: root.Plan) -> int:
    """A root with libraries and packages, places for three devices, and an empty /tmp."""
    links = {"/tmp": WORK, "/dev/stdin": STDIN}
    for name in ("/lib", "/lib64"):  # where the loader looks, which on merged systems are links into /usr
        if os.path.islink(name):
            links[name] = os.readlink(name)
    return root.make(wanted, found.hidden, ("/proc", "/dev", WORK, PACKAGES), _DEVICES, links)


def _build_root(
    where: str, found: libraries.Libraries, packages: list[str], shared: root.Shared | None
) -> root.Shared | None:
    """Mounts a root on the empty folder `where`: `shared`, if that can be had, or a new one, which is returned if others
    can have it too."""
    made = None
    if shared and root.lay(shared.mount, where):
        bound = shared.bound
    else:
        wanted = root.plan(found, packages, PACKAGES)
        mount, bound = _new_root(found, wanted), wanted.bound
        if root.lay(mount, where):
            made = root.Shared(mount, bound)
        else:
            root.move(mount, where)
    for path, target in (*bound, *zip(_DEVICES, _DEVICES, strict=True)):
        _mount(path, where + target, None, _BIND)
    return made


_TAKEN = ("/tmp", "/proc", "/dev", _BOX, PACKAGES, root.CANARY)


def check_places(found: libraries.Libraries) -> None:
    """Raises OSError where the interpreter's libraries lie in a place that is something else inside."""
    for path in (*found.folders, *found.shared_objects):
        for place in _TAKEN:
            if path == place or path.startswith(place + "/"):
                raise OSError(
                    f"the interpreter's library {path} is below {place}, which programs have as their own: install it elsewhere"
                )


def _enter_root(where: str, *, keep_proc: bool) -> None:
    if keep_proc:  # needed once more, to map the uid; covered later
        _mount("/proc", f"{where}/proc", None, _BIND | _REC)
    os.chdir(where)
    here = ctypes.c_char_p(b".")
    check(syscall(_PIVOT_ROOT[os.uname().machine], here, here), "pivot_root")
    check(_libc.umount2(b".", 2), "umount old root")  # which lies on the new one
    os.chdir("/")


def _mapped() -> tuple[int, int]:
    """The first of the uids that exist here, and how many there are. Zeros where none is mapped."""
    with open("/proc/self/uid_map", encoding="ascii") as lines:
        words = lines.readline().split()
    return (int(words[0]), int(words[2])) if words else (0, 0)


def _unused_uid(number: int) -> int:
    """A uid for this zygote alone, so that its process limit is its own. From the top of what is mapped here."""
    first, length = _mapped()
    top = min(first + length, 1 << 31)
    return top - 2 - number % min(60_000, max(1, length - 1))


def enter_namespaces(
    scratch: str, number: int, found: libraries.Libraries, packages: list[str], shared: root.Shared | None = None
) -> root.Shared | None:
    """Moves this process into namespaces and a root of its own. `scratch`: an empty folder to mount on; `packages`: files and
    folders to be found below /packages; `shared`: a root that was returned to an earlier worker. Returns a new one, if it can
    be shared.

    As root, the root is built first and the uid dropped before the user namespace is made: a mapped uid 0 outside would
    void RLIMIT_NPROC, and an interpreter under a closed home would be out of reach afterwards. The caller forks next; the
    child is pid 1 of the new pid namespace.
    """
    check_places(found)
    # Root of a user namespace that maps nobody else is an ordinary user outside, and cannot become another.
    as_root = os.geteuid() == 0 and _mapped()[1] > 1
    if as_root:
        uid = _unused_uid(number)
        check(_libc.unshare(_NEWNS), "unshare(mount)")
        _mount("none", "/", None, _REC | _PRIVATE)
        made = _build_root(scratch, found, packages, shared)
        _enter_root(scratch, keep_proc=True)
        try:
            os.setgroups([])
        except PermissionError as error:
            raise OSError(error.errno, "setgroups: this user namespace forbids it") from None
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        check(_libc.prctl(4, 1, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")  # else /proc/self is root's
    outer_uid, outer_gid = os.getuid(), os.getgid()
    check(_libc.unshare(_NEWUSER | _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS | _NEWCGROUP), "unshare(namespaces)")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"65534 {outer_uid} 1"),
        ("gid_map", f"65534 {outer_gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)
    _mount("none", "/", None, _REC | _PRIVATE)
    if not as_root:
        made = _build_root(scratch, found, packages, shared)
        _enter_root(scratch, keep_proc=True)
    return made


def seal_root() -> None:
    """Covers /proc and makes everything read-only. Run as pid 1."""
    _mount("tmpfs", "/proc", "tmpfs", _RDONLY | _NOSUID | _NODEV | _NOEXEC, "size=4k,nr_inodes=2,mode=0555")
    _set_mount("/", 0x1 | 0x2, recursive=True)  # RDONLY | NOSUID


def mount_work(tmpfs_mib: int) -> None:
    """A file system for one program: whatever it does to names, times, modes or inode numbers there goes with it."""
    _mount("tmpfs", WORK, "tmpfs", _NOSUID | _NODEV, f"size={tmpfs_mib}m,nr_inodes=4096,mode=0700")


def unmount_work() -> None:
    check(_libc.umount2(WORK.encode(), 2), "umount /tmp")


def file_rules(found: libraries.Libraries) -> int:
    """A Landlock ruleset, as a descriptor: read libraries and devices, write below /tmp. Nobody under
    such rules may mount, so each program takes them on by itself."""
    folders = sorted({*found.folders, *map(os.path.dirname, found.shared_objects)})
    allowed = [(path, landlock.READ) for path in (*folders, "/proc", PACKAGES)]
    allowed += [(path, landlock.DEVICE) for path in _DEVICES]
    return landlock.rules([*allowed, (_BOX, landlock.EVERYTHING)])


_SYS_ADMIN = 21
CAP_HEADER = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0), 8)
NO_CAPS = ctypes.create_string_buffer(24)


def keep_mounting() -> None:
    """Gives up every capability but the one to mount in its own namespace, and to set the next pid there."""
    _drop_bounds()
    bit = 1 << _SYS_ADMIN
    data = ctypes.create_string_buffer(struct.pack("=6I", bit, bit, 0, 0, 0, 0), 24)
    check(_libc.capset(CAP_HEADER, data), "capset")


def open_proc() -> int | None:
    """A copy of the mount of /proc that is in no tree, as a descriptor: what is open for writing there keeps nothing from being
    made read-only. None where the kernel has no such copies."""
    flags = 1 | 0x8000 | os.O_CLOEXEC  # CLONE, RECURSIVE
    tree = syscall(_OPEN_TREE, -100, ctypes.c_char_p(b"/proc"), flags)
    return None if tree < 0 else tree


def open_last_pid(proc: int) -> int | None:
    """Where the next pid of this namespace is set; None where the kernel has no such place, or it is closed to us."""
    try:
        return os.open("sys/kernel/ns_last_pid", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
    except OSError:
        return None


def _drop_bounds() -> None:
    for capability in range(64):
        if _libc.prctl(24, capability, 0, 0, 0) < 0:  # PR_CAPBSET_DROP: EINVAL past the kernel's last one
            break


def capabilities() -> int:
    """The effective and permitted capability bits of this process, together."""
    header = ctypes.create_string_buffer(struct.pack("=Ii", 0x20080522, 0), 8)
    data = ctypes.create_string_buffer(24)
    check(_libc.capget(header, data), "capget")
    low_e, low_p, _, high_e, high_p, _ = struct.unpack("=6I", data.raw)
    return int((low_e | low_p) | (high_e | high_p) << 32)


def fork() -> int:
    """The C library's fork, without what `os.fork` runs in the child for threads, locks and generators of random numbers.

    Only for a process with one thread. It leaves the child two hundred page faults cheaper, a third of all it had.
    """
    return check(_fork(), "fork")


_fork = ctypes.PyDLL(None, use_errno=True).fork  # holds the interpreter's lock, on both sides


def become_subreaper() -> None:
    """Orphans of this process's descendants become its children, so that a sweep finds them."""
    check(_libc.prctl(36, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


def die_with_parent() -> None:
    check(_libc.prctl(1, 9, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def hide_memory() -> None:
    """No process of the same user may trace this one or read its memory."""
    check(_libc.prctl(4, 0, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def namespace_ids() -> dict[str, str]:
    return {name: os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES}


def _limit(which: int, soft: int, hard: int) -> None:
    """Hard with soft, so that it cannot be raised again; never above what holds already."""
    ceiling = resource.getrlimit(which)[1]
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(which, (soft, hard))


def limit_all(*, output: int, processes: int | None, files: int) -> None:
    """Limits that every program has in common: bytes a file, processes, descriptors, queued signals (and with them timers), no
    core files, no message queues.

    processes: None without a user of one's own: the kernel counts all that a user runs, in every container of the machine.
    """
    _limit(resource.RLIMIT_FSIZE, output, output)
    if processes is not None:
        _limit(resource.RLIMIT_NPROC, processes, processes)
    _limit(resource.RLIMIT_NOFILE, files, files)
    _limit(resource.RLIMIT_CORE, 0, 0)
    _limit(resource.RLIMIT_SIGPENDING, SIGNALS, SIGNALS)
    _limit(resource.RLIMIT_MSGQUEUE, 0, 0)


_INFINITE = resource.RLIM_INFINITY
_CEILINGS = {which: resource.getrlimit(which)[1] for which in (resource.RLIMIT_CPU, resource.RLIMIT_AS)}


Bounds = list[tuple[int, tuple[int, int]]]


def bounds(*, cpu: int, memory: int) -> Bounds:
    """CPU seconds (SIGXCPU, and SIGKILL a second later) and bytes of address space, as the kernel wants them."""
    wanted = []
    for which, soft, hard in ((resource.RLIMIT_CPU, cpu, cpu + 1), (resource.RLIMIT_AS, memory, memory)):
        ceiling = _CEILINGS[which]
        if ceiling != _INFINITE:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        wanted.append((which, (soft, hard)))
    return wanted
