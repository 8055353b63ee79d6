"""What pyproject.toml cannot say: an editable install puts the files of JupyterLab's extension in their place, too."""

from setuptools import Distribution, setup


class WithData(Distribution):
    def has_data(self):
        """setuptools' editable install asks this of a distribution, which knows it by another name only."""
        return self.has_data_files()


setup(distclass=WithData)
