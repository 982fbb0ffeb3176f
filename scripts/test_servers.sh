#!/bin/sh
# Unpacks Cyrus and Courier for the contract tests.
exit 0
