"""Pipes and pairs of programs at strict, which are named pipes of their own: they work as CPython's do."""

# ruff: noqa: E501 (programs)

from __future__ import annotations

import pytest

from wmtp.contracts.judging import CallTests, StdioCase, StdioTests
from wmtp.judging.judge import SandboxJudge

PROGRAMS = {
    "asyncio twice": """
import asyncio
async def g(): await asyncio.sleep(0.001); return 1
def f(): return asyncio.run(g()) + asyncio.run(g()) == 2
""",
    "asyncio to_thread": """
import asyncio
async def g(): return await asyncio.to_thread(sum, [1,2])
def f(): return asyncio.run(g()) == 3
""",
    "asyncio signal": """
import asyncio, os, signal
async def g():
  l=asyncio.get_running_loop(); e=asyncio.Event()
  l.add_signal_handler(signal.SIGUSR1, e.set)
  os.kill(os.getpid(), signal.SIGUSR1)
  await asyncio.wait_for(e.wait(), 3)
  return 5
def f(): return asyncio.run(g()) == 5
""",
    "asyncio threadsafe": """
import asyncio, threading
async def g():
  l=asyncio.get_running_loop(); e=asyncio.Event()
  threading.Timer(0.05, lambda: l.call_soon_threadsafe(e.set)).start()
  await asyncio.wait_for(e.wait(), 3)
  return 5
def f(): return asyncio.run(g()) == 5
""",
    "pipe": """
import os
def f():
  r,w=os.pipe(); os.write(w,b'abc'); os.close(w)
  return os.read(r,10)==b'abc' and os.read(r,10)==b''
""",
    "pipe fork": """
import os
def f():
  r,w=os.pipe()
  if os.fork()==0:
    os.close(r); os.write(w,b'x'*200000); os._exit(0)
  os.close(w)
  n=0
  while p:=os.read(r,65536): n+=len(p)
  os.wait()
  return n==200000
""",
    "pipe fdopen": """
import os
def f():
  r,w=os.pipe()
  with os.fdopen(w,'w') as o: o.write('hi\\n')
  with os.fdopen(r) as i: return i.read()=='hi\\n'
""",
    "many pipes": """
import os
def f():
  k=[os.pipe() for _ in range(80)]
  for r,w in k: os.close(r); os.close(w)
  return True
""",
    "pipe flags": """
import os,fcntl,stat
def f():
  r,w=os.pipe()
  r2,w2=os.pipe2(os.O_NONBLOCK)
  return (os.get_blocking(r),os.get_blocking(w),os.get_inheritable(r),os.get_blocking(r2),os.get_blocking(w2),os.get_inheritable(w2),stat.S_ISFIFO(os.fstat(r).st_mode))==(True,True,False,False,False,True,True)
""",
    "socketpair": """
import socket
def f():
  a,b=socket.socketpair()
  a.send(b'x'); b.sendall(b'yy')
  return b.recv(9)==b'x' and a.recv(9)==b'yy'
""",
    "socketpair select": """
import socket,selectors
def f():
  a,b=socket.socketpair(); s=selectors.DefaultSelector(); s.register(b,selectors.EVENT_READ,'B')
  a.send(b'q')
  r=[k.data for k,_ in s.select(1)]
  return r==['B'] and b.recv(5)==b'q'
""",
    "socketpair fork": """
import socket,os
def f():
  a,b=socket.socketpair()
  if os.fork()==0:
    a.close(); d=b.recv(99); b.sendall(d.upper()); b.close(); os._exit(0)
  b.close(); a.sendall(b'abc'); r=a.recv(99); e=a.recv(9); os.wait()
  return (r,e)==(b'ABC',b'')
""",
    "socketpair timeout": """
import socket
def f():
  a,b=socket.socketpair(); a.settimeout(0.05)
  try: a.recv(1)
  except TimeoutError: pass
  a.setblocking(False)
  try: a.recv(1)
  except BlockingIOError: return a.gettimeout()==0
""",
    "socketpair makefile": """
import socket
def f():
  a,b=socket.socketpair()
  with a, b:
    w=a.makefile('w'); w.write('one\\ntwo\\n'); w.flush(); a.shutdown(socket.SHUT_WR)
    return b.makefile().readlines()==['one\\n','two\\n']
""",
    "socketpair streams": """
import socket,asyncio
async def g():
  a,b=socket.socketpair()
  r,w=await asyncio.open_connection(sock=a)
  r2,w2=await asyncio.open_connection(sock=b)
  w.write(b'hello\\n'); await w.drain()
  l=await r2.readline(); w.close(); w2.close()
  return l
def f(): return asyncio.run(g())==b'hello\\n'
""",
    "sock_recv": """
import socket,asyncio
async def g():
  a,b=socket.socketpair(); a.setblocking(False); b.setblocking(False)
  l=asyncio.get_running_loop()
  await l.sock_sendall(a,b'zz')
  return await l.sock_recv(b,9)
def f(): return asyncio.run(g())==b'zz'
""",
    "recv_into": """
import socket
def f():
  a,b=socket.socketpair(); a.send(b'abcd'); x=bytearray(9); n=b.recv_into(x); return (n,bytes(x[:n]))==(4,b'abcd')
""",
    "mp pipe": """
import multiprocessing as m
def w(c): c.send(c.recv()*2); c.close()
def f():
  m.set_start_method('fork',True)
  a,b=m.Pipe(); p=m.Process(target=w,args=(b,)); p.start(); a.send(21); r=a.recv(); p.join(); return r==42
""",
    "mp pipe simplex": """
import multiprocessing as m
def f():
  a,b=m.Pipe(False); b.send([1]); return a.poll(1) and a.recv()==[1]
""",
    "sqlite": """
import sqlite3
def f():
  c=sqlite3.connect('x.db'); c.execute('create table if not exists t(a)'); c.execute('delete from t'); c.execute('insert into t values(3)'); c.commit(); d=sqlite3.connect('x.db'); r=d.execute('select a from t').fetchall(); return r==[(3,)]
""",
    "dbm": """
import dbm
def f():
  with dbm.open('d','c') as d: d['a']='1'
  with dbm.open('d') as d: return d['a']==b'1'
""",
    "dup": """
import os
def f():
  r,w=os.pipe(); k=os.dup(w); os.close(w); os.write(k,b'1'); os.dup2(k,50); os.close(k); os.close(50); return os.read(r,3)==b'1' and os.read(r,1)==b''
""",
    "redirect": """
import os,sys
def f():
  r,w=os.pipe(); s=os.dup(1); os.dup2(w,1); os.write(1,b'k'); os.dup2(s,1); return os.read(r,9)==b'k'
""",
    "wakeup": """
import signal,socket,os
def f():
  a,b=socket.socketpair(); a.setblocking(False); b.setblocking(False)
  signal.signal(signal.SIGUSR1,lambda *x:None); signal.set_wakeup_fd(b.fileno()); os.kill(os.getpid(),signal.SIGUSR1); signal.set_wakeup_fd(-1)
  return a.recv(9)==bytes([signal.SIGUSR1])
""",
    "popen": """
import select,os
def f():
  r,w=os.pipe(); p=select.poll(); p.register(r); e=p.poll(0); os.write(w,b'1'); return e==[] and select.select([r],[w],[],1)==([r],[w],[])
""",
}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_program_uses_pipes_and_pairs(kind: str, strict: SandboxJudge) -> None:
    for _ in range(2):  # the second time after itself
        outcome = strict.submit(PROGRAMS[kind], CallTests(tests=("assert f() is True", "assert f() is True"))).result()
        assert outcome.passed, outcome


@pytest.mark.parametrize("kind", ["asyncio twice", "pipe fork", "socketpair streams"])
def test_a_stdin_program_does_so_too(kind: str, strict: SandboxJudge) -> None:
    cases = [StdioCase(input="", expected="True\n")] * 2
    outcome = strict.submit(f"{PROGRAMS[kind]}\nprint(f())", StdioTests(cases=cases)).result()
    assert outcome.passed, outcome


LEFT = """
import os, sys
os.set_blocking(1, False)
print(input())
sys.stdout.flush()
if os.fork() == 0:
    sys.stdout.flush()
    while True: os.write(2, b"x" * 65536)
sys.stdout.write("y" * int(input()))
"""


def test_what_a_case_leaves_in_its_pipes_is_not_the_next_ones(judge: SandboxJudge) -> None:
    """Neither bytes that a process of its own still writes, nor that its stdout does not block."""
    cases = [StdioCase(input=f"{n}\n{n}\n", expected=f"{n}\n{'y' * n}\n") for n in (3, 5, 7)]
    outcome = judge.submit(LEFT, StdioTests(cases=cases)).result()
    assert outcome.passed, outcome
    blocks = "import os\nfirst = os.get_blocking(1)\nos.set_blocking(1, False)\nprint(first)"
    assert judge.submit(blocks, StdioTests(cases=[StdioCase(input="", expected="True\n")] * 3)).result().passed
