"""Printable labels for a branch: what this box, camera or plug is, and what not to do with it.

    words   the plain words, in the languages that there are
    sheet   the sheet: one HTML file to print on A4, with QR codes inside

People are the first failure mode: a box without a label is unplugged to charge a phone.
"""
