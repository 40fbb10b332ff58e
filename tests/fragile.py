"""A decoder's process that does what the name of the file says: no file is known that crashes a real one."""

BROKEN = """
import ctypes, os, signal, sys, time
sys.path[:] = sys.argv[1:]
from moodreel.media import worker
real = worker.open_media
def fragile(source, limits):
    name = os.path.basename(str(source))
    if "segfault" in name: ctypes.string_at(0)
    if "abort" in name: os.abort()
    if "killed" in name: os.kill(os.getpid(), signal.SIGKILL)
    if "quits" in name: os._exit(3)
    if "hangs" in name: time.sleep(60)
    if "fills" in name: bytearray(1 << 40)
    if "raises" in name: raise ZeroDivisionError("deep inside")
    if "prints" in name:
        os.write(1, b"noise\\n")
        print("noise", flush=True)
    media = real(source, limits)
    def break_off(read):
        def crash(indices, how):
            if "drawn" in name and how == (14, 14):  # what runtime.tiny looks at
                yield from read(indices, how)
                return
            yield from read(indices[:1], how)
            ctypes.string_at(0)
        return crash
    if "late" in name or "drawn" in name:
        media._read, media._read_resized = break_off(media._read), break_off(media._read_resized)
    return media
worker.open_media = fragile
worker.main()
"""
"""For moodreel.media.pool.START."""
