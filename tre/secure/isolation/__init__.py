"""The cage, attacked on the machine itself: attempts, what they are to reach, and the report of what got through.

Guaranteed: every attempt is made in a box as jobs are, and again outside as the control arm, so that what is told as
stopped is known to work where nothing stops it. What is told is names and verdicts, never anything that was read.
Not done here: attempts of the hardware's side channels or of the kernel's faults. docs/security.md says what is open.
"""
