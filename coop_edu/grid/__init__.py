"""Many experiments: methods x datasets x shots x seeds, with their table and curves. No method is invented in here.

methods makes the classifiers of a group, cells computes one experiment, workspace is what all of them share; run goes
through the grid and resumes where it stopped, parallel keeps the cores busy, progress says how long it takes; results
is the file, frame its table of pandas; report shows it, agreement says what of it agrees with the paper, and commands
is the command line.
"""
