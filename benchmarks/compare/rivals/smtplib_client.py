"""The standard library's smtplib: one thread a connection."""

import smtplib
import ssl
import threading
from collections.abc import Iterator

from benchmarks.compare.rivals.workload import Task, messages, read_task

SENDER = "bounces@sender.example"


def feed(task: Task, source: Iterator[tuple[str, bytes]], lock: threading.Lock) -> None:
    with smtplib.SMTP(task.host, task.port, timeout=60) as client:
        if task.tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            client.starttls(context=context)
        while True:
            with lock:
                item = next(source, None)
            if item is None:
                return
            client.sendmail(SENDER, [item[0]], item[1])


def main(task: Task) -> None:
    source, lock = messages(task), threading.Lock()
    threads = [threading.Thread(target=feed, args=(task, source, lock)) for _ in range(task.connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(read_task())
