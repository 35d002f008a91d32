"""`python scheduler.py`: the scheduler, until SIGTERM or SIGINT."""

from killsync.scheduling.scheduler import main

if __name__ == "__main__":
    main()
