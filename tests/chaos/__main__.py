if __name__ == "__main__":  # not in the processes that it starts
    from tests.chaos.command import main

    main()
