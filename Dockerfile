# The book in Jupyter, on the CPU: docker build -t unlearning . && docker run --rm -p 8888:8888 unlearning
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends chromium git make npm && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home reader
USER reader
WORKDIR /home/reader/book
COPY --chown=reader . .
RUN make setup TORCH=cpu
ENV PATH="/home/reader/book/.venv/bin:$PATH" MULIB_DATA=""
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "notebooks"]
