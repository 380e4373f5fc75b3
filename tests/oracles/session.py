"""The transactions of one SMTP connection in plain Python: what ext/session.pyx must do, said simply."""

from collections import deque

MAIL, RCPT, DATA, MESSAGE, RSET, QUIT = 7, 8, 9, 10, 11, 12


class Delivery:
    def __init__(self, message, recipient, data):
        self.message, self.recipient, self.data = message, recipient, data
        self.stage, self.failed, self.ended = MAIL, False, False
        self.chunked = self.filling = False
        self.end = 0


def command_line(text, utf8=False):
    """No byte below 0x20, no DEL; under SMTPUTF8 no control, line separator or surrogate of Unicode either."""
    foreign = text.decode("utf-8", "surrogatepass") if utf8 else text.decode("latin-1")
    for character in foreign:
        code = ord(character)
        if code < 32 or code == 127 or (code > 127 and not utf8) or 0x80 <= code < 0xA0:
            raise ValueError(text)
        if code in (0x2028, 0x2029) or 0xD800 <= code < 0xE000:
            raise ValueError(text)
    if len(text) + 2 > 12288:
        raise ValueError(text)
    return text + b"\r\n"


def path_line(start, path, parameters, utf8):
    if len(path) > 254 or b"<" in path or b">" in path or len(parameters) > 640 or parameters[:1] not in (b"", b" "):
        raise ValueError(path)
    return command_line(start + b"<" + path + b">" + parameters, utf8)


class Transactions:
    def __init__(self, *, pipelining, chunking=False, size=False, window=1, max_messages=100):
        self.pipelining, self.size, self.max_messages = pipelining, size, max_messages
        self.chunking = pipelining and chunking
        self.set_window(window)
        self.submitted = self.completed = self.proven = self.written_bytes = 0
        self.anomaly, self.dismissed = None, False
        self.misunderstood = []
        self.closing = self.dirty = self.quitting = False
        self.error = None
        self.written: list[bytes] = []
        self.begun: list[Delivery] = []
        self.unsent = 0
        self.flying: list[Delivery] = []
        self.expected: deque[tuple[int, Delivery | None]] = deque()

    def set_window(self, window):
        if not 1 <= window <= 64:
            raise ValueError(window)
        self.window = window if self.chunking else 1

    def give_up_chunking(self):
        self.chunking, self.window = False, 1

    @property
    def wants(self):
        if self.closing or self.submitted >= self.max_messages:
            return False
        if self.chunking:
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

    @property
    def oldest(self):
        return self.flying[0].message if self.flying else None

    @property
    def may_be_taken(self):
        return any(delivery.ended for delivery in self.flying)

    @property
    def windowed(self):
        return len(self.flying) > 1 and self.flying[0].chunked

    def submit(self, message, sender, recipient, data, *, utf8=False, size_bytes=-1, mail=b"", rcpt=b"", head=b""):
        data = head + data
        if not self.wants:
            raise RuntimeError
        size = b" SIZE=" + str(len(data) if size_bytes < 0 else size_bytes).encode() if self.size else b""
        parameters = size + (b" BODY=8BITMIME SMTPUTF8" if utf8 else b"") + mail
        mail_line = path_line(b"MAIL FROM:", sender, parameters, utf8)
        delivery = Delivery(message, path_line(b"RCPT TO:", recipient, rcpt, utf8), data)
        self.flying.append(delivery)
        self.submitted += 1
        if self.chunking or self.dirty:
            self.say(b"RSET\r\n", RSET, None)
            self.dirty = False
        self.say(mail_line, MAIL, delivery)
        if self.pipelining:
            self.say(delivery.recipient, RCPT, delivery)
            if self.chunking:
                delivery.chunked, self.dirty = True, True
                delivery.filling = len(self.flying) == self.window
                self.write(b"BDAT " + str(len(data)).encode() + b" LAST\r\n")
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
            self.dismissed = code == 421
            if self.dismissed:
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
                    line = delivery.recipient if stage == MAIL else b"DATA\r\n"
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
            if delivery.chunked and (good if delivery.failed else 500 <= code <= 504):
                self.anomaly = self.anomaly or "no reply to expect"
                if not good:
                    delivery.failed = True
                    self.misunderstood.append(delivery.message)
            elif delivery.filling and not self.anomaly and code != 421:
                self.proven += 1
            if good and not delivery.failed:
                self.completed += 1
                results.append((delivery.message, stage, code, text))
            else:
                fail()
            self.forget(delivery)
        elif stage == RSET and not good:
            self.max_messages = self.submitted
            if code != 421:
                self.anomaly = self.anomaly or "RSET refused"

    def refuse(self, delivery, stage, code, text, results):
        if not delivery.failed:
            delivery.failed = self.dirty = True
            results.append((delivery.message, stage, code, text))

    def withdraw(self):
        for delivery in self.begun:
            delivery.ended = False
        self.written_bytes -= sum(map(len, self.written))
        self.begun, self.written = [], []

    def quit(self):
        if not self.quitting and not self.flying:
            self.quitting = self.closing = True
            self.say(b"QUIT\r\n", QUIT, None)

    def abandon(self, *, closed=False, unwritten_bytes=0):
        self.withdraw()
        left = []
        for delivery in self.flying:
            gone = delivery.ended and delivery.end <= self.written_bytes - unwritten_bytes
            if not delivery.failed:
                left.append((delivery.message, delivery.stage, gone and not (closed and self.dismissed)))
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

    def write(self, data):
        self.written.append(data)
        self.written_bytes += len(data)

    def take_misunderstood(self):
        messages, self.misunderstood = self.misunderstood, []
        return messages

    def say(self, line, stage, delivery):
        self.write(line)
        self.expected.append((stage, delivery))
        self.unsent += 1

    def end(self, delivery, data):
        self.say(data, MESSAGE, delivery)
        delivery.ended, delivery.end = True, self.written_bytes
        self.begun.append(delivery)

    def forget(self, delivery):
        self.flying.remove(delivery)
        if self.dirty and not self.pipelining and not self.closing:
            self.dirty = False
            self.say(b"RSET\r\n", RSET, None)
