"""Judges notifications with Python's email package: multipart/report of RFC 6522 with the fields RFC 3464 requires.

  notification.py DIRECTORY     judges every file there; prints what is wrong, and exits with 1 when something is
"""

import email
import email.policy
import email.utils
import os
import re
import sys

ACTIONS = {"failed", "delayed", "delivered", "relayed", "expanded"}
STATUS_TYPES = {"message/delivery-status", "message/global-delivery-status"}
RETURNED_TYPES = {"message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers"}


def problems(octets):
    """What is wrong with a notification; an empty list when nothing is."""
    # compat32 hands out what stands there; the newer policy repairs some defects silently.
    message = email.message_from_bytes(octets, policy=email.policy.compat32)
    found = [f"{message.get_content_type()}: {defect!r}" for defect in message.defects]
    if message.get_content_type() != "multipart/report":
        return found + [f"the type is {message.get_content_type()}"]
    if message.get_param("report-type") != "delivery-status":
        found.append(f"report-type is {message.get_param('report-type')}")
    for name in ("From", "To", "Date", "Subject", "Message-ID", "MIME-Version", "Auto-Submitted"):
        if len(message.get_all(name, [])) != 1:
            found.append(f"{name} stands {len(message.get_all(name, []))} times")
    if message.get("Auto-Submitted", "").strip() != "auto-replied":
        found.append("Auto-Submitted is not auto-replied")
    if email.utils.parsedate_to_datetime(message["Date"]) is None:
        found.append("Date is none")
    parts = message.get_payload()
    if len(parts) not in (2, 3):
        return found + [f"there are {len(parts)} parts"]
    # What is inside the third part is the sender's own work.
    found += [f"{part.get_content_type()}: {defect!r}" for part in parts for defect in part.defects]
    if parts[0].get_content_type() != "text/plain" or not parts[0].get_payload(decode=True).strip():
        found.append("the first part is no text")
    if parts[1].get_content_type() not in STATUS_TYPES:
        return found + [f"the second part is {parts[1].get_content_type()}"]
    if len(parts) == 3 and parts[2].get_content_type() not in RETURNED_TYPES:
        found.append(f"the third part is {parts[2].get_content_type()}")
    about, recipients = blocks(parts[1])
    found += [f"report: {defect!r}" for fields in (about, *recipients) for defect in fields.defects]
    return found + status_problems(about, recipients)


def blocks(part):
    """The fields about the message, and a list of those about each recipient."""
    payload = part.get_payload()
    if isinstance(payload, list) and part.get_content_type() == "message/delivery-status":
        fields = payload
    else:  # Python has no parser for the type of RFC 6533: it is the same text in UTF-8
        text = payload if isinstance(payload, str) else payload[0].as_string()
        fields = [email.message_from_string(b) for b in re.split(r"\r?\n\r?\n", text.strip())]
    return fields[0], fields[1:]


def status_problems(about, recipients):
    """RFC 3464 2.2 and 2.3: required fields, each once, in their syntax."""
    found = []
    typed = re.compile(r"[A-Za-z0-9-]+; ?\S")
    if len(about.get_all("Reporting-MTA", [])) != 1 or not typed.match(about["Reporting-MTA"]):
        found.append("Reporting-MTA is missing or malformed")
    if not recipients:
        found.append("no recipient is reported")
    for fields in recipients:
        for name in ("Final-Recipient", "Action", "Status"):
            if len(fields.get_all(name, [])) != 1:
                found.append(f"{name} stands {len(fields.get_all(name, []))} times")
        if found:
            continue
        action, status = fields["Action"].strip().lower(), fields["Status"].strip()
        if action not in ACTIONS:
            found.append(f"Action: {action}")
        if not re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", status):
            found.append(f"Status: {status}")
        if (status[0] == "2") != (action in ("delivered", "relayed", "expanded")):
            found.append(f"{action} with {status}")
        for name in ("Final-Recipient", "Original-Recipient", "Remote-MTA", "Diagnostic-Code"):
            value = fields.get(name)
            if value is not None and not typed.match(value):
                found.append(f"{name}: {value}")
        for name in ("Last-Attempt-Date", "Will-Retry-Until"):
            if fields.get(name) is not None and email.utils.parsedate_to_datetime(fields[name]) is None:
                found.append(f"{name}: {fields[name]}")
    return found


def main():
    judged, bad = 0, 0
    for name in sorted(os.listdir(sys.argv[1])):
        with open(os.path.join(sys.argv[1], name), "rb") as f:
            found = problems(f.read())
        judged += 1
        bad += bool(found)
        for problem in found:
            print(f"{name}: {problem}")
    print(f"{judged} judged, {bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
