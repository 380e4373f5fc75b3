// nodemailer with a pool: node nodemailer_client.js HOST PORT FOLDER CONNECTIONS static|rendered|signed
'use strict';
const fs = require('fs');
const path = require('path');
const readline = require('readline');
const nodemailer = require('nodemailer');

const [host, port, folder, connections, content] = process.argv.slice(2);
const options = {
  host, port: Number(port), secure: false, ignoreTLS: true, pool: true,
  maxConnections: Number(connections), maxMessages: Infinity,
};
if (content === 'signed') {
  options.dkim = {
    domainName: 'sender.example', keySelector: 's1',
    privateKey: fs.readFileSync(path.join(folder, 'key.pem'), 'utf8'),
  };
}
const transport = nodemailer.createTransport(options);
const parts = fs.readFileSync(path.join(folder, 'body.html'), 'utf8').split(/\{\{ (\w+) \}\}/);
const escapes = {'&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&#34;', "'": '&#39;'};
const render = (row) => parts.map((part, at) => at % 2 ? row[part].replace(/[&<>"']/g, (c) => escapes[c]) : part).join('');

async function main() {
  const lines = readline.createInterface({input: fs.createReadStream(path.join(folder, 'list.csv'))});
  let names = null, raw = null, under = 0, wake = null;
  for await (const line of lines) {
    const values = line.split(',');
    if (names === null) { names = values; continue; }
    const row = Object.fromEntries(names.map((name, at) => [name, values[at]]));
    const message = {envelope: {from: 'bounces@sender.example', to: [row.email]}};
    if (content === 'static') {
      raw = raw || Buffer.from('From: news@sender.example\r\nSubject: seeds\r\n\r\n' + render(row).replace(/\n/g, '\r\n'));
      message.raw = raw;
    } else {
      Object.assign(message, {
        from: 'Garden <news@sender.example>', to: row.email, subject: `${row.first_name}, your seeds are here`,
        html: render(row),
        headers: {'List-Unsubscribe': '<https://sender.example/u/0123456789abcdef0123456789abcdef>',
          'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click'},
      });
    }
    under += 1;
    transport.sendMail(message).then(() => {
      under -= 1;
      if (wake) { wake(); wake = null; }
    }, (error) => { console.error(error); process.exit(1); });
    if (under >= 4 * Number(connections)) await new Promise((resolve) => { wake = resolve; });
  }
  while (under > 0) await new Promise((resolve) => { wake = resolve; });
  transport.close();
}
main();
