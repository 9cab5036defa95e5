#!/usr/bin/env python3
"""Adds up JUnit files and closes a test run: `N passed, N failed[, N skipped]` alone on its line.

Usage: count_results.py FAILED FILE.xml…; FAILED is 1 if a step failed that writes no such file.
"""
import sys
import xml.etree.ElementTree as ElementTree

other_failure, files = int(sys.argv[1]), sys.argv[2:]
passed = failed = skipped = 0
for name in files:
    for case in ElementTree.parse(name).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
if other_failure and failed == 0:
    failed = 1
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(1 if failed or passed == 0 else 0)
