"""Where a configuration value is written, so that a complaint can name the file, the section and the option."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from oslo_config import cfg

from bagpipe.daemon.start_error import StartError


class ConfigurationError(StartError):
    """The configuration cannot be used. The text is one line that names the place, the value and the reason."""


class ConfigSource:
    """The sections of the configuration files as they are written; a later file goes before an earlier one."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files: list[tuple[Path, dict[str, dict[str, list[str]]]]] = []
        for path in files:
            sections: dict[str, dict[str, list[str]]] = {}
            try:
                cfg.ConfigParser(str(path), sections).parse()
            except cfg.ConfigFileParseError as error:
                raise ConfigurationError(" ".join(str(error.msg).split())) from error
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"{path}: {error}") from error
            self._files.append((path, sections))

    @property
    def paths(self) -> list[Path]:
        """The files that were read, in order."""
        return [path for path, _ in self._files]

    def section_names(self) -> list[str]:
        """Every section name as it is written, once, in order."""
        return list(dict.fromkeys(name for _, sections in self._files for name in sections))

    def options(self, section: str) -> list[str]:
        """The options written in a section, in any case of its name."""
        return list(dict.fromkeys(option for _, entries in self._written(section) for option in entries))

    def find(self, section: str, names: Sequence[str]) -> tuple[Path, str, str] | None:
        """File, option name and value of the last place where the option is written."""
        for path, entries in self._written(section):
            for name in names:
                if name in entries:
                    return path, name, entries[name][-1]
        return None

    def _written(self, section: str) -> Iterator[tuple[Path, dict[str, list[str]]]]:
        for path, sections in reversed(self._files):
            for name, entries in sections.items():
                if name.lower() == section.lower():
                    yield path, entries

    def error(
        self, section: str, option: str, reason: str, *, secret: bool = False, old: str = ""
    ) -> ConfigurationError:
        """A complaint about an option, with the value that is written or a word that there is none."""
        written = self.find(section, [option, *([old] if old else [])])
        if written is None:
            files = ", ".join(str(path) for path in self.paths) or "no configuration file"
            return ConfigurationError(f"{files}: [{section}] {option}: {reason}")
        path, name, value = written
        return ConfigurationError(f"{path}: [{section}] {name} = {'***' if secret else value}: {reason}")
