"""The transactions of one SMTP connection in plain Python: what ext/session.pyx must do, said simply."""

from collections import deque

MAIL, RCPT, DATA, MESSAGE, RSET, QUIT = 7, 8, 9, 10, 11, 12


class Delivery:
    def __init__(self, message, recipient, data):
        self.message, self.recipient, self.data = message, recipient, data
        self.stage, self.failed, self.ended = MAIL, False, False


class Transactions:
    def __init__(self, *, pipelining, chunking=False, size=False, window=1, max_messages=100):
        if not 1 <= window <= 64:
            raise ValueError(window)
        self.pipelining, self.size, self.max_messages = pipelining, size, max_messages
        self.window = window if pipelining and chunking else 1
        self.submitted = self.completed = 0
        self.closing = self.dirty = self.quitting = False
        self.error = None
        self.written: list[bytes] = []
        self.begun: list[Delivery] = []
        self.unsent = 0
        self.flying: list[Delivery] = []
        self.expected: deque[tuple[int, Delivery | None]] = deque()

    @property
    def wants(self):
        if self.closing or self.submitted >= self.max_messages:
            return False
        if self.window > 1:
            return len(self.flying) < self.window
        if not self.pipelining:
            return not self.flying and not self.expected
        return not self.flying or (len(self.flying) == 1 and self.flying[0].ended)

    @property
    def stage(self):
        return self.expected[0][0] if self.expected else 0

    @property
    def asked(self):
        return len(self.expected) > self.unsent

    @property
    def in_flight(self):
        return len(self.flying)

    @property
    def finished(self):
        return self.quitting and not self.expected

    def submit(self, message, sender, recipient, data, *, utf8=False):
        if not self.wants:
            raise RuntimeError
        for path in (sender, recipient):
            bad = any(byte < 32 or byte in b"\x7f<>" or (byte > 127 and not utf8) for byte in path)
            if bad or len(path) > 256:
                raise ValueError(path)
        delivery = Delivery(message, recipient, data)
        self.flying.append(delivery)
        self.submitted += 1
        if self.window > 1 or self.dirty:
            self.say(b"RSET\r\n", RSET, None)
            self.dirty = False
        size = b" SIZE=" + str(len(data)).encode() if self.size else b""
        self.say(b"MAIL FROM:<" + sender + b">" + size + (b" SMTPUTF8" if utf8 else b"") + b"\r\n", MAIL, delivery)
        if self.pipelining:
            self.say(b"RCPT TO:<" + recipient + b">\r\n", RCPT, delivery)
            if self.window > 1:
                self.written.append(b"BDAT " + str(len(data)).encode() + b" LAST\r\n")
                self.end(delivery, data)
            else:
                self.say(b"DATA\r\n", DATA, delivery)

    def answer(self, replies):
        results = []
        for code, text in replies:
            if not self.asked:
                self.closing = True
                if code == 421:
                    self.withdraw()
                    if self.expected and self.expected[0][1] is not None:
                        stage, delivery = self.expected[0]
                        self.refuse(delivery, stage, code, text, results)
                        self.flying.remove(delivery)
                    self.expected.clear()
                    self.unsent = 0
                    continue
                self.error = "nothing asked for it"
                break
            stage, delivery = self.expected.popleft()
            if code == 421:
                self.closing = True
            self.react(stage, delivery, code, text, results)
            if self.error:
                self.closing = True
                break
        return results

    def react(self, stage, delivery, code, text, results):
        good = code // 100 == 2

        def fail():
            self.refuse(delivery, stage, code, text, results)

        if code // 100 == 3 and stage not in (DATA, QUIT):
            self.error = "354 to another command"
            return
        if stage in (MAIL, RCPT):
            if good:
                following = {MAIL: RCPT, RCPT: DATA}[stage]
                delivery.stage = MESSAGE if stage == RCPT and delivery.ended else following
                if not self.pipelining:
                    line = b"RCPT TO:<" + delivery.recipient + b">\r\n" if stage == MAIL else b"DATA\r\n"
                    self.say(line, following, delivery)
            else:
                fail()
                if not self.pipelining:
                    self.forget(delivery)
        elif stage == DATA:
            if code // 100 == 3 and delivery.failed:
                self.say(b".\r\n", MESSAGE, delivery)
                delivery.ended = True
            elif code // 100 == 3:
                delivery.stage = MESSAGE
                self.end(delivery, delivery.data + b".\r\n")
            elif good:
                self.error = "250 to DATA"
            else:
                fail()
                self.forget(delivery)
        elif stage == MESSAGE:
            if good and not delivery.failed:
                self.completed += 1
                results.append((delivery.message, stage, code, text))
            else:
                fail()
            self.forget(delivery)
        elif stage == RSET and not good:
            self.max_messages = self.submitted

    def refuse(self, delivery, stage, code, text, results):
        if not delivery.failed:
            delivery.failed = self.dirty = True
            results.append((delivery.message, stage, code, text))

    def withdraw(self):
        for delivery in self.begun:
            delivery.ended = False
        self.begun, self.written = [], []

    def quit(self):
        if not self.quitting and not self.flying:
            self.quitting = self.closing = True
            self.say(b"QUIT\r\n", QUIT, None)

    def abandon(self):
        self.withdraw()
        left = [(delivery.message, delivery.stage, delivery.ended) for delivery in self.flying if not delivery.failed]
        self.flying.clear()
        self.expected.clear()
        self.unsent = 0
        self.closing = True
        return left

    def outgoing(self):
        data, self.written, self.unsent = b"".join(self.written), [], 0
        return data

    def take_begun(self):
        begun, self.begun = self.begun, []
        return [delivery.message for delivery in begun]

    def say(self, line, stage, delivery):
        self.written.append(line)
        self.expected.append((stage, delivery))
        self.unsent += 1

    def end(self, delivery, data):
        self.say(data, MESSAGE, delivery)
        delivery.ended = True
        self.begun.append(delivery)

    def forget(self, delivery):
        self.flying.remove(delivery)
        if self.dirty and not self.pipelining and not self.closing:
            self.dirty = False
            self.say(b"RSET\r\n", RSET, None)
