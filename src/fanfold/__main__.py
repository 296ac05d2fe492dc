"""`python -m fanfold` is the same as `fanfold`."""

from fanfold.cli import app

if __name__ == "__main__":
    app(prog_name="fanfold")
