# What people run by hand; `make ci` is what must be green.
.PHONY: setup test lint types ci docs site demo table2 figures gpu-job

setup:           ## an editable install with everything for development, into the active environment
	pip install -c constraints.txt -e '.[dev]'

test:            ## all tests; `make test ARGS='-m "not slow"'` for the quick ones
	pytest $(ARGS)

lint:            ## style and layers
	ruff check .
	ruff format --check .
	lint-imports

types:
	mypy

ci:              ## everything, in fresh environments
	bash .ci/run

docs:            ## regenerate what is generated
	python -m speech2vid.cli.reference docs

site:            ## the documentation as a site, in site/; fails on a broken link
	mkdocs build --strict

demo:
	speech2vid demo

table2:          ## every variant of the paper trained and measured alike: `make table2 DATA=store OUT=study [ARGS=--toy]`
	python benchmarks/table2.py --data $(DATA) --out $(OUT) --doc docs/table2.md $(ARGS)

figures:         ## the paper's figures from your own data: `make figures DATA=store OUT=folder [ARGS="--weights paper --weights default"]`
	python benchmarks/figures.py --data $(DATA) --out $(OUT) $(ARGS)

gpu-job:         ## a training for one GPU and ten minutes, packed to be sent there: `make gpu-job DATA=store OUT=folder [ARGS=…]`
	PYTHONPATH=src python -m research.gpu_job.pack --data $(DATA) --out $(OUT) $(ARGS)
