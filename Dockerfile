# The command line in a container: docker build -t safecompress . && docker run -v "$PWD:/work" safecompress
FROM python:3.12-slim

# The default build of torch would bring several GB of CUDA libraries; name another index for a GPU.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=onnx

WORKDIR /opt/safecompress
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip install --no-cache-dir -c constraints.txt --index-url "$TORCH_INDEX" torch \
    && pip install --no-cache-dir -c constraints.txt ".[$EXTRAS]"

# Models and data of strangers are read here, so nothing runs as root.
RUN useradd --create-home auditor
USER auditor
WORKDIR /work
ENTRYPOINT ["safecompress"]
CMD ["--help"]
