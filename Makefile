# make setup   virtual environment, pinned packages, the packages in submodules/
# make demo    setup, then: make a scene, train, render, score, report
# make demo-head   the same with a talking head: make the head, train an avatar of it, render, score, report
# make avatar VIDEO=me.mp4   setup, then: track the face of a video, train an avatar of it, render, score, report
#             NAME=me names it; FLAGS="--face left" are flags of scripts/make_avatar.py (docs/own-video.md)
# make test    setup, then: the test suite (what .ci/run runs), and its 20 slowest tests
# make test FAST=1   the same without tests that start a process or a compiler, or take long while quicker ones of
#             their kind run
# make gpu     setup, then: the wheels that an NVIDIA GPU needs
# make lint    ruff
# Every target may be repeated: what is done is skipped. PYTHON=python3.12 chooses the interpreter.

PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python
NAME   := demo
OUT    := output/$(NAME)
HEAD   := demo_head
VIDEO  :=
FLAGS  :=
AVATAR  = $(if $(filter command line,$(origin NAME)),$(NAME),$(basename $(notdir $(VIDEO))))

NATIVE := $(shell find submodules \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' -o -name cstdint -o -name '*.py' -o -name pyproject.toml \) | grep -v -e build/ -e egg-info | sort)

.PHONY: setup demo demo-head avatar test gpu lint
.DELETE_ON_ERROR:

setup: $(VENV)/.ready

$(VENV)/.installed: requirements.txt scripts/check_system.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh scripts/check_system.sh
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.ready: $(VENV)/.installed $(NATIVE)
	$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall ./submodules/*/
	@touch $@

$(VENV)/.dev: $(VENV)/.ready requirements-dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(VENV)/.face: $(VENV)/.ready requirements-face.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-face.txt
	@touch $@

$(VENV)/.gpu: $(VENV)/.ready requirements-gpu.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-gpu.txt
	@touch $@

demo: $(VENV)/.ready
	$(PY) scripts/make_demo_data.py --out data/$(NAME)
	$(PY) train.py -s data/$(NAME) --configs arguments/dnerf/demo.py --expname $(NAME)
	$(PY) render.py --model_path $(OUT) --skip_train
	$(PY) metrics.py -m $(OUT)
	$(PY) scripts/make_report.py $(OUT)
	@echo
	@echo "pictures  $(OUT)/test/ours_*/renders"
	@echo "video     $(OUT)/video/ours_*/video_rgb.mp4"
	@echo "scores    $(OUT)/results.json"
	@echo "report    $(OUT)/report.html   <- open this one in a browser"

demo-head: $(VENV)/.ready
	$(PY) scripts/make_demo_head.py --out data/$(HEAD)
	$(PY) train.py -s data/$(HEAD)/imavatar/demo_head --configs arguments/imavatar/demo_head.py --expname $(HEAD)
	$(PY) render.py --model_path output/$(HEAD) --skip_train --novel_view
	$(PY) metrics.py -m output/$(HEAD)
	$(PY) -m scripts.demo.talking_head.scores output/$(HEAD)
	$(PY) scripts/make_report.py output/$(HEAD)
	@echo
	@echo "held out  output/$(HEAD)/test/ours_*/video_rgb.mp4    driving, then the end of the monologue"
	@echo "turned    output/$(HEAD)/novel_view/ours_*/video_rgb.mp4"
	@echo "report    output/$(HEAD)/report.html   <- open this one in a browser"

avatar: $(VENV)/.face
	@test -n "$(VIDEO)" || { echo "say which video: make avatar VIDEO=me.mp4" >&2; exit 2; }
	$(PY) scripts/make_avatar.py "$(VIDEO)" --out "data/$(AVATAR)" $(FLAGS)
	$(PY) train.py -s "data/$(AVATAR)/$(AVATAR)" -m "output/$(AVATAR)" --configs arguments/imavatar/own_video.py
	$(PY) render.py -m "output/$(AVATAR)" --skip_train --novel_view --turn 12 --novel_expression
	$(PY) metrics.py -m "output/$(AVATAR)"
	$(PY) scripts/make_report.py "output/$(AVATAR)"
	@echo
	@echo "tracking  data/$(AVATAR)/overlay.mp4, data/$(AVATAR)/tracking.html"
	@echo "held out  output/$(AVATAR)/test/ours_*/video_rgb.mp4"
	@echo "turned    output/$(AVATAR)/novel_view/ours_*/video_rgb.mp4"
	@echo "report    output/$(AVATAR)/report.html   <- open this one in a browser"

test: $(VENV)/.dev
	$(PY) -m ruff check .
	$(PY) -m pytest -q -n auto --maxprocesses 4 --dist worksteal --durations=20 --durations-min=0.5 $(if $(FAST),--fast)

gpu: $(VENV)/.gpu
	@$(PY) -c "from utils.devices import choose_device, describe; print('--device auto is', describe(choose_device('auto')))"

lint: $(VENV)/.dev
	$(PY) -m ruff check .
