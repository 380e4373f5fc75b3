"""The campaign that `bulkmail init` begins with: sound by the rules of `check`, sent into the sandbox."""

MARKETING = """\
# bulkmail check {name}/campaign.yaml     what is wrong or missing, before anybody gets mail
# bulkmail preview {name}/campaign.yaml --browser
# bulkmail send {name}/campaign.yaml      the sandbox: nothing leaves this machine
#
# Paths are relative to this file. campaigns/reference.yaml of bulkmail explains every key.

campaign: {name}                             # each issue takes a new name: a finished one is not sent again
kind: marketing

from: "Acme Garden <news@garden.example>"    # made up: put your own domain everywhere below
reply_to: care@garden.example
return_path: bounces@mail.garden.example
list_id: "Acme Garden letter <letter.garden.example>"
subject: "{{{{ first_name | default(\\"Friend\\") }}}}, news from the garden"

content:
  html: body.html
  text: body.txt
  preheader: "Three things to do this week"

sender_address: "Acme Garden Ltd, 14 Orchard Lane, Exampleton EX1 2AB"

recipients:
  - {{file: recipients.csv, list: letter}}

unsubscribe:
  url: "https://garden.example/u/{{{{ token }}}}"
  mailto: unsubscribe@garden.example

dkim:                                        # the sandbox makes the key; make your own with openssl for real mail
  - {{domain: garden.example, selector: s1, key: keys/garden.pem}}

delivery:
  route: sandbox                             # mx or relay for real mail, and then without the two lines below
  retry: [2s, 4s, 8s]
  expire: 25s
"""

TRANSACTIONAL = """\
# bulkmail check {name}/campaign.yaml     what is wrong or missing, before anybody gets mail
# bulkmail preview {name}/campaign.yaml --browser
# bulkmail send {name}/campaign.yaml      the sandbox: nothing leaves this machine
#
# Paths are relative to this file. campaigns/reference.yaml of bulkmail explains every key.

campaign: {name}
kind: transactional                          # somebody waits for it: no unsubscribe, no advertising in it

from: "Acme Garden <orders@garden.example>"  # made up: put your own domain everywhere below
reply_to: care@garden.example
return_path: bounces@mail.garden.example
subject: "Your order {{{{ order }}}} is on its way"

content:
  html: body.html
  text: body.txt

recipients:
  - {{file: recipients.csv}}

dkim:                                        # the sandbox makes the key; make your own with openssl for real mail
  - {{domain: garden.example, selector: s1, key: keys/garden.pem}}

delivery:
  route: sandbox                             # mx or relay for real mail, and then without the two lines below
  retry: [2s, 4s, 8s]
  expire: 25s
"""

_HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Acme Garden</title>
<style>
  @media (prefers-color-scheme: dark) {
    .page { background: #12180f !important; }
    .card { background: #1c241a !important; }
    .ink { color: #f1eedf !important; }
    .link { color: #a3c97a !important; }
  }
</style>
</head>
<body class="page" style="margin:0;padding:24px 0;background:#ece8db">
<table role="presentation" class="card" align="center" cellpadding="0" cellspacing="0"
  style="width:100%;max-width:600px;margin:0 auto;background:#fffdf7;font-family:Helvetica,Arial,sans-serif">
<tr><td style="padding:32px">
"""

MARKETING_HTML = (
    _HEAD
    + """\
<h1 class="ink" style="margin:0 0 16px;font-size:26px;line-height:32px;color:#1f4d36">
Good morning, <span dir="auto">{{ first_name | default("friend") }}</span></h1>
<p class="ink" style="margin:0 0 16px;font-size:16px;line-height:24px;color:#22301f">
The soil is warm enough. Rake the beds, sow the beans, and
bring the young plants in at night: that is all for this week.</p>
<p style="margin:0 0 24px;font-size:16px;line-height:24px">
<a class="link" href="https://garden.example/week" style="color:#2f6b47">Read the whole letter</a></p>
<p class="ink" style="margin:0;font-size:12px;line-height:18px;color:#56634f">{{ sender_address }}<br>
<a class="link" href="{{ unsubscribe_url }}" style="color:#2f6b47">Unsubscribe</a></p>
</td></tr>
</table>
</body>
</html>
"""
)

MARKETING_TEXT = """\
Good morning, {{ first_name | default("friend") }}

The soil is warm enough. Rake the beds, sow the beans, and bring the young plants in at night: that is all for
this week.

Read the whole letter: https://garden.example/week

{{ sender_address }}
Unsubscribe: {{ unsubscribe_url }}
"""

TRANSACTIONAL_HTML = (
    _HEAD
    + """\
<h1 class="ink" style="margin:0 0 16px;font-size:26px;line-height:32px;color:#1f4d36">Order {{ order }}</h1>
<p class="ink" style="margin:0 0 16px;font-size:16px;line-height:24px;color:#22301f">
Dear <span dir="auto">{{ first_name }}</span>, your parcel has left our
 seed house and will be with you by {{ arrives | date("full") }}. You paid {{ total | currency("EUR") }}.</p>
<p style="margin:0;font-size:16px;line-height:24px">
<a class="link" href="https://garden.example/orders/{{ order }}" style="color:#2f6b47">See where it is</a></p>
</td></tr>
</table>
</body>
</html>
"""
)

TRANSACTIONAL_TEXT = """\
Order {{ order }}

Dear {{ first_name }}, your parcel has left our seed house and will be with you by {{ arrives | date("full") }}.
You paid {{ total | currency("EUR") }}.

See where it is: https://garden.example/orders/{{ order }}
"""

MARKETING_ROWS = """\
email,first_name
ann@meadow.example,Ann
bo@hill.example,Bo
cem@brook.example,
"""

TRANSACTIONAL_ROWS = """\
email,first_name,order,total,arrives
ann@meadow.example,Ann,G-1001,29.90,2027-05-08
bo@hill.example,Bo,G-1002,12.50,2027-05-08
cem@brook.example,Cem,G-1003,118.00,2027-05-10
"""

IGNORED = "# Private keys stay out of the repository, and so does what a run remembers.\nkeys/\n.bulkmail/\n"
