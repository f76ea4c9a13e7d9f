"""The load of a warm instance: source that comes by HTTP after the start."""

import base64
import binascii
import io
import os
import zipfile

from .workers import Failed


class Source:
    """As the load request has it; raises ValueError where that is not what it must be."""

    def __init__(self, request):
        self.files = request.get("files") or {}
        self.archive = request.get("archive")
        self.entry_point = request.get("entryPoint") or ""
        self.environment = request.get("env") or {}
        self.timeout = float(request.get("timeoutSeconds") or 60)
        self.concurrency = int(request.get("concurrency") or 20)

    def apply(self, settings):
        try:
            self.unpack(settings.directory)
        except (OSError, ValueError, zipfile.BadZipFile, binascii.Error) as error:
            raise Failed({"type": "BadSource", "message": str(error)}, f"bad source: {error}\n") from None
        settings.entry_point = self.entry_point
        settings.environment = self.environment
        settings.timeout = self.timeout
        settings.concurrency = self.concurrency

    def unpack(self, directory):
        if self.archive:
            archive = base64.b64decode(self.archive, validate=True)
            # Names that lead out of the directory are made to stay in it.
            zipfile.ZipFile(io.BytesIO(archive)).extractall(directory)
        for name, text in self.files.items():
            path = os.path.join(directory, os.path.normpath("/" + name).lstrip("/"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
